"""Bicubic resizing of maps, as two small matrix products.

# B batch, C channels, H W the given grid, h w the wanted one
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aal_plugin.core.precision import precise_matmul


def resize_maps(maps: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    """Bicubic resize of (B, C, H, W) to (B, C, h, w), or the maps as they are.

    What `F.interpolate(mode="bicubic", align_corners=False)` does, in float32 or wider whatever
    autocast says. Its kernel for GPUs has one thread a position, which walks over the channels of
    the whole batch; a product spreads over them. The result lies in memory as the channels-last
    maps of a CNN do.
    """
    if maps.shape[-2:] == size:
        return maps
    dtype = torch.promote_types(maps.dtype, torch.float32)
    (batch, channels, height, width), (rows, columns) = maps.shape, size
    # Four neighbours a position: of a map that much larger, some are never read.
    sparse = not antialias and height > 4 * rows and width > 4 * columns
    given = (sparse, antialias, maps.device, dtype)
    down, used_rows = _bicubic_matrix(height, rows, *given)
    across, used_columns = _bicubic_matrix(width, columns, *given)
    with torch.autocast(maps.device.type, enabled=False):
        last = maps.permute(0, 2, 3, 1)  # (B, H, W, C), no copy of channels-last maps
        if sparse:
            last = last[:, used_rows[:, None], used_columns]
        height, width = last.shape[1:3]
        last = last.to(dtype).reshape(batch, height, width * channels)
        last = precise_matmul(down.expand(batch, -1, -1), last).view(batch * rows, width, channels)
        last = precise_matmul(across.expand(batch * rows, -1, -1), last)
    return last.view(batch, rows, columns, channels).permute(0, 3, 1, 2)


_kept: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}


@torch.compiler.assume_constant_result
def _bicubic_matrix(
    source: int,
    target: int,
    sparse: bool,
    antialias: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The matrix of a one-dimensional resize, (target, used), and which of the source it reads."""
    key = (source, target, sparse, antialias, device, dtype)
    if key in _kept:
        return _kept[key]
    # For later steps too, so no inference tensor: autograd could not use it.
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(source, dtype=torch.float64, device="cpu")[None, None]
        matrix = F.interpolate(
            unit, size=(target, source), mode="bicubic", align_corners=False, antialias=antialias
        )[0, 0]
        used = matrix.abs().amax(0).nonzero().flatten() if sparse else torch.arange(source)
        matrix, used = matrix[:, used].to(device, dtype), used.to(device)
    if type(matrix) is Tensor:  # and not one that a tracer made up
        _kept[key] = matrix, used
    return matrix, used
