"""Attention maps from the softmax weights of a block, and windows back on their grid.

# B batch, T tokens, M heads, h w patch grid or grid of a stage
# W windows of an image, S positions of a window, Q queries of a window
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from aal_plugin.core.precision import at_least_float32

from .maps import check_fills


def attention_from_weights(
    weights: Tensor, grid: tuple[int, int], num_prefix_tokens: int, class_token: bool
) -> Tensor:
    """Maps from a block's own softmax weights.

    Args:
        weights: (B, M, T, T), queries before keys, rows summing to one.
        grid: (h, w).
        num_prefix_tokens: tokens before the patches.
        class_token: whether the first token is a class token. If so, its row over the patches is
            scaled to a sum of one (AAL, Eq. 3); if not, the rows of the patches are averaged.

    Returns:
        (B, M, h, w), float32 or wider.

    Raises:
        ValueError: the number of patch tokens is not h * w.

    Example:
        >>> import torch
        >>> weights = torch.rand(1, 2, 7, 7).softmax(-1)
        >>> attention_from_weights(weights, (2, 3), num_prefix_tokens=1, class_token=True).shape
        torch.Size([1, 2, 2, 3])
    """
    patches = slice(num_prefix_tokens, None)
    check_fills(weights.shape[-1] - num_prefix_tokens, grid)
    weights = at_least_float32(weights[:, :, 0 : 1 if class_token else None, patches])
    if not class_token:
        weights = weights[:, :, patches]
    if num_prefix_tokens:
        # The floor keeps a row finite that has all its weight on the prefix tokens.
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    maps: Tensor = weights.mean(dim=-2).unflatten(-1, grid)
    return maps


class Windows(NamedTuple):
    """How a block cuts its grid into windows.

    Attributes:
        grid: (h, w) of the stage.
        size: (h, w) of a window.
        shift: (down, right), the cyclic shift.
        pads_first: whether the grid is padded to a multiple of the window before it is shifted.
        dilated: whether a window holds positions that lie equally far apart over the whole grid
            (MaxViT's grid attention) rather than neighbours.

    Example:
        >>> Windows(grid=(8, 8), size=(4, 4), shift=(2, 2)).pads_first
        False
    """

    grid: tuple[int, int]
    size: tuple[int, int]
    shift: tuple[int, int] = (0, 0)
    pads_first: bool = False
    dilated: bool = False


def window_attention_received(weights: Tensor, windows: Windows) -> Tensor:
    """Attention that each position receives in its window, back on the stage's grid.

    The mean of the softmax weights over the queries of a window, with partition and cyclic shift
    undone and padding cropped. It stands in for Eq. 3 of AAL, which needs a class token.

    Args:
        weights: (B·W, M, Q, S), queries before keys.
        windows: how the block cuts its grid.

    Returns:
        (B, M, h, w), float32 or wider.

    Example:
        >>> import torch
        >>> weights = torch.full((4, 2, 4, 4), 0.25)  # 4 windows of 2×2 positions
        >>> window_attention_received(weights, Windows(grid=(4, 4), size=(2, 2))).shape
        torch.Size([1, 2, 4, 4])
    """
    return windows_to_grid(at_least_float32(weights).mean(dim=-2), windows)


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
