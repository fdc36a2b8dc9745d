"""Readers of softmax weights, which the block itself has computed.

# B batch, T tokens, M heads, W windows of S tokens, h w patch grid
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from aal_plugin.core.student.sources import Foreign, Source, first_input
from aal_plugin.core.student.windows import (
    Windows,
    attention_from_weights,
    window_attention_received,
)

from .reader import BlockReader


def matrix_reader(
    attn: Foreign,
    grid: Source,
    num_prefix_tokens: int,
    class_token: bool,
    block: nn.Module | None = None,
) -> BlockReader:
    """Read attention from the softmax weights (B, M, T, T) that enter a block's `attn_drop`.

    Example:
        >>> from aal_plugin.core.student.sources import output_grid
        >>> attn = nn.Module()
        >>> attn.attn_drop, attn.num_heads = nn.Dropout(), 2
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_grid)
        >>> matrix_reader(attn, grid, 1, class_token=True).sources[0].module
        Dropout(p=0.5, inplace=False)
    """
    read = partial(
        attention_from_weights, num_prefix_tokens=num_prefix_tokens, class_token=class_token
    )
    sources = (Source(attn.attn_drop, first_input),)
    return BlockReader(attn, sources, grid, attn.num_heads, read, block, num_prefix_tokens)


def window_reader(
    attn: Foreign,
    grid: Source,
    windows: Callable[[tuple[int, int]], Windows],
    block: nn.Module | None = None,
) -> BlockReader:
    """Read attention received from the weights of windows (B·W, M, S, S) that enter `attn_drop`.

    Args:
        attn: has `attn_drop` and `num_heads`.
        grid: the source of (h, w).
        windows: `windows((h, w))` returns how the block cuts this grid.
        block: see `BlockReader`.

    Example:
        >>> from aal_plugin.core.student.sources import output_grid
        >>> attn = nn.Module()
        >>> attn.attn_drop, attn.num_heads = nn.Dropout(), 2
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_grid)
        >>> window_reader(attn, grid, partial(Windows, size=(4, 4))).num_prefix_tokens
        0
    """
    read = partial(_read_windows, windows=windows)
    sources = (Source(attn.attn_drop, first_input),)
    return BlockReader(attn, sources, grid, attn.num_heads, read, block, 0)


def _read_windows(
    weights: Tensor, grid: tuple[int, int], windows: Callable[[tuple[int, int]], Windows]
) -> Tensor:
    return window_attention_received(weights, windows(grid))
