"""Bicubic resizing of maps, as two small matrix products.

# B batch, C channels, H W the given grid, h w the wanted one
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_maps(maps: Tensor, size: Tuple[int, int], antialias: bool = False) -> Tensor:
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
    down = _bicubic_matrix(height, rows, antialias, maps.device, dtype)
    across = _bicubic_matrix(width, columns, antialias, maps.device, dtype)
    with torch.autocast(maps.device.type, enabled=False):
        last = maps.to(dtype).permute(0, 2, 3, 1)  # (B, H, W, C), no copy of channels-last maps
        last = torch.bmm(
            down.expand(batch, -1, -1), last.reshape(batch, height, width * channels)
        ).view(batch * rows, width, channels)
        last = torch.bmm(across.expand(batch * rows, -1, -1), last)
    return last.view(batch, rows, columns, channels).permute(0, 3, 1, 2)


_kept: Dict[Tuple[Any, ...], Tensor] = {}


@torch.compiler.assume_constant_result
def _bicubic_matrix(
    source: int, target: int, antialias: bool, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """The (target, source) matrix of a one-dimensional resize: what it makes of the identity."""
    key = (source, target, antialias, device, dtype)
    if key in _kept:
        return _kept[key]
    # For later steps too, so no inference tensor: autograd could not use it.
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(source, dtype=torch.float64, device="cpu")[None, None]
        resized = F.interpolate(
            unit, size=(target, source), mode="bicubic", align_corners=False, antialias=antialias
        )
        matrix = resized[0, 0].to(device, dtype)
    if type(matrix) is Tensor:  # and not one that a tracer made up
        _kept[key] = matrix
    return matrix
