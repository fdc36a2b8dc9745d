"""Bicubic resizing of maps, as two small matrix products.

# B batch, C channels, H W the given grid, h w the new grid
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from aal_plugin.core.precision import precise_matmul


def resize_maps(maps: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    """Bicubic resize of maps, as `F.interpolate(mode="bicubic", align_corners=False)`.

    In float32 or wider, also under autocast. The kernel of `F.interpolate` on GPUs has one thread
    per position, which loops over all channels of the batch; a matrix product runs over them in
    parallel. The result has the memory format of channels-last maps.

    Args:
        maps: (B, C, H, W).
        size: (h, w); maps that have this size already are returned unchanged.
        antialias: smooth before a map is made smaller.

    Example:
        >>> resize_maps(torch.ones(1, 2, 7, 7), (14, 14)).shape
        torch.Size([1, 2, 14, 14])
    """
    if maps.shape[-2:] == size:
        return maps
    dtype = torch.promote_types(maps.dtype, torch.float32)
    (batch, channels, height, width), (rows, columns) = maps.shape, size
    # Each new position reads four neighbours: of a much larger map, some are never read.
    sparse = not antialias and height > 4 * rows and width > 4 * columns
    given = (sparse, antialias, maps.device, dtype)
    down, used_rows = _bicubic_matrix(height, rows, *given)
    across, used_columns = _bicubic_matrix(width, columns, *given)
    with torch.autocast(maps.device.type, enabled=False):
        last = maps.permute(0, 2, 3, 1)  # (B, H, W, C), a view of channels-last maps
        if sparse:
            last = last[:, used_rows[:, None], used_columns]
        height, width = last.shape[1:3]
        last = last.to(dtype).reshape(batch, height, width * channels)
        last = precise_matmul(down.expand(batch, -1, -1), last).view(batch * rows, width, channels)
        last = precise_matmul(across.expand(batch * rows, -1, -1), last)
    return last.view(batch, rows, columns, channels).permute(0, 3, 1, 2)


_kept: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _bicubic_matrix(
    source: int,
    target: int,
    sparse: bool,
    antialias: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The matrix of a one-dimensional resize, (target, used), and the source positions it reads."""
    key = (source, target, sparse, antialias, device, dtype)
    if key in _kept:
        return _kept[key]
    # Later steps use it too, so it must not be an inference tensor: autograd rejects those.
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(source, dtype=torch.float64, device="cpu")[None, None]
        matrix = F.interpolate(
            unit, size=(target, source), mode="bicubic", align_corners=False, antialias=antialias
        )[0, 0]
        used = matrix.abs().amax(0).nonzero().flatten() if sparse else torch.arange(source)
        matrix, used = matrix[:, used].to(device, dtype), used.to(device)
    if type(matrix) is Tensor:  # not a tracer's stand-in
        _kept[key] = matrix, used
    return matrix, used
