"""Attention within windows, and the maps of windows back on the grid of their stage.

# B batch, M heads, D channels of a head, h w grid of a stage
# W windows of an image, S positions of a window, Q queries of a window
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from aal_plugin.core.precision import at_least_float32

from .maps import attention_received


class Windows(NamedTuple):
    """How a block cuts its grid into windows.

    Attributes:
        grid: (h, w) of the stage.
        size: (h, w) of a window.
        shift: (down, right), the cyclic shift.
        pads_first: whether the grid is padded to a multiple of the window before it is shifted.
        dilated: whether a window holds positions that lie equally far apart over the whole grid
            (MaxViT's grid attention) rather than neighbours.
    """

    grid: tuple[int, int]
    size: tuple[int, int]
    shift: tuple[int, int] = (0, 0)
    pads_first: bool = False
    dilated: bool = False


def received_in_windows(weights: Tensor, windows: Windows) -> Tensor:
    """Attention that each position receives in its window, back on the stage's grid (B, M, h, w).

    The mean of the softmax weights (B·W, M, Q, S) over the queries of a window, in float32 or
    wider, with partition and cyclic shift undone and padding cropped. It stands in for Eq. 3 of
    AAL, which needs a class token.
    """
    return windows_to_grid(at_least_float32(weights).mean(dim=-2), windows)


def attention_within(
    query: Tensor,
    key: Tensor,
    windows: Windows,
    scale: float | Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """As `attention_received`, for queries and keys of windows, (B·W, S, M, D) each."""
    maps = attention_received(query, key, windows.size, scale, bias)
    return windows_to_grid(maps.flatten(-2), windows)


def windows_to_grid(maps: Tensor, windows: Windows) -> Tensor:
    """Maps of windows, (B·W, M, S), put together on the grid of their stage, (B, M, h, w).

    Example:
        >>> import torch
        >>> windows_to_grid(torch.arange(4.0).view(2, 1, 2), Windows(grid=(2, 2), size=(1, 2)))
        tensor([[[[0., 1.],
                  [2., 3.]]]])
    """
    (height, width), size = windows.grid, windows.size
    rows, columns = -(-height // size[0]), -(-width // size[1])
    maps = maps.unflatten(0, (-1, rows, columns)).unflatten(-1, size)  # (B, rows, columns, M, …)
    axes = (0, 3, 4, 1, 5, 2) if windows.dilated else (0, 3, 1, 4, 2, 5)
    maps = maps.permute(axes).flatten(4).flatten(2, 3)  # (B, M, padded grid)
    if windows.pads_first:
        maps = maps.roll(windows.shift, dims=(-2, -1))
    maps = maps[..., :height, :width]
    return maps if windows.pads_first else maps.roll(windows.shift, dims=(-2, -1))
