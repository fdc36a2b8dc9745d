"""Readers: what to record of a student's blocks, and how to compute attention maps from it.

# B batch, T tokens, M heads, D channels of a head, h w patch grid
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from .qkv import (
    input_class_token_attention,
    projected_attention,
    qkv_attention_received,
    qkv_class_token_attention,
)
from .sources import Foreign, Source, first_input, output_of
from .windows import Windows, attention_from_weights, window_attention_received

Read = Callable[..., Tensor]


class BlockReader(NamedTuple):
    """How to read the attention of one block.

    Attributes:
        attention: the module that holds the block's attention weights.
        sources: the values to record, of this module or within it.
        grid: the source of (h, w).
        num_heads: maps of the block, M.
        read: `read(*values, grid=(h, w))` returns the maps (B, M, h, w).
        block: returns the block's tokens (B, T, C), or (B, h, w, C); None if their order is not
            that of the grid.
        num_prefix_tokens: tokens before the patches.

    Example:
        >>> attn = nn.Module()
        >>> attn.qkv, attn.num_heads = nn.Linear(16, 48), 2
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_of)
        >>> qkv_reader(attn, grid, num_prefix_tokens=1, scale=8**-0.5).num_heads
        2
    """

    attention: nn.Module
    sources: tuple[Source, ...]
    grid: Source
    num_heads: int
    read: Read
    block: nn.Module | None
    num_prefix_tokens: int


class StudentReader(NamedTuple):
    """How to read a student: a reader for each block, in their order.

    Attributes:
        blocks: the readers.
        image_size: the (H, W) that the student was built for, or None if it accepts any.
        check: `check(H, W)` raises ValueError if AAL cannot read attention on such images.

    Example:
        >>> StudentReader([], None, lambda height, width: None).image_size is None
        True
    """

    blocks: list[BlockReader]
    image_size: tuple[int, int] | None
    check: Callable[[int, int], None]


def qkv_reader(
    attn: Foreign,
    grid: Source,
    num_prefix_tokens: int,
    scale: float,
    class_token: bool = True,
    block: nn.Module | None = None,
    query_norm: nn.Module | None = None,
    key_norm: nn.Module | None = None,
) -> BlockReader:
    """Read attention from the output (B, T, 3·M·D) of a block's `qkv` projection.

    Recording it costs nothing, fused attention stays on, and blocks under gradient checkpointing
    recompute exactly what they would without it.

    Example:
        >>> attn = nn.Module()
        >>> attn.qkv, attn.num_heads = nn.Linear(16, 48), 2
        >>> reader = qkv_reader(attn, Source(nn.Conv2d(3, 16, 4, 4), output_of), 1, scale=0.35)
        >>> reader.sources[0].module is attn.qkv
        True
    """
    read = partial(
        qkv_class_token_attention if class_token else qkv_attention_received,
        num_heads=attn.num_heads,
        num_prefix_tokens=num_prefix_tokens,
        scale=scale,
        query_norm=query_norm,
        key_norm=key_norm,
    )
    sources = (Source(attn.qkv, output_of),)
    return BlockReader(attn, sources, grid, attn.num_heads, read, block, num_prefix_tokens)


def projections_reader(
    attn: Foreign,
    query: nn.Module,
    key: nn.Module,
    num_heads: int,
    grid: Source,
    num_prefix_tokens: int,
    scale: float,
    class_token: bool = True,
    block: nn.Module | None = None,
    query_norm: nn.Module | None = None,
    key_norm: nn.Module | None = None,
) -> BlockReader:
    """Read attention from the outputs of separate query and key projections.

    Args:
        attn: the module that holds them.
        query: returns (B, T, M·D), or (B, M·D) for the class token alone.
        key: returns (B, T, M·D).
        num_heads: M.
        grid: the source of (h, w).
        num_prefix_tokens: tokens before the patches.
        scale: the factor on the product of queries and keys.
        class_token: whether the first token is a class token.
        block: see `BlockReader`.
        query_norm, key_norm: applied to each head before the product.

    Example:
        >>> attn = nn.ModuleDict(dict(q=nn.Linear(16, 16), k=nn.Linear(16, 16)))
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_of)
        >>> reader = projections_reader(attn, attn["q"], attn["k"], 2, grid, 1, scale=0.35)
        >>> len(reader.sources)
        2
    """
    read = partial(
        projected_attention,
        num_heads=num_heads,
        num_prefix_tokens=num_prefix_tokens,
        scale=scale,
        class_token=class_token,
        query_norm=query_norm,
        key_norm=key_norm,
    )
    sources = (Source(query, output_of), Source(key, output_of))
    return BlockReader(attn, sources, grid, num_heads, read, block, num_prefix_tokens)


def normed_reader(
    attn: Foreign,
    read: Read,
    grid: Source,
    num_prefix_tokens: int,
    block: nn.Module | None = None,
    extras: tuple[Source, ...] = (),
) -> BlockReader:
    """Read attention from the outputs of `q_norm` and `k_norm`, which also exist without norms.

    timm's attention modules call both, if only as `nn.Identity`. Recording them costs nothing, and
    position terms that follow are added by `read`.

    Args:
        attn: has `q_norm`, `k_norm` and `num_heads`.
        read: `read(query, key, *extras, grid=(h, w))` returns the maps.
        grid: the source of (h, w).
        num_prefix_tokens: tokens before the patches.
        block: see `BlockReader`.
        extras: more values to record, such as the rotary embedding.

    Example:
        >>> attn = nn.Module()
        >>> attn.q_norm, attn.k_norm, attn.num_heads = nn.Identity(), nn.Identity(), 2
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_of)
        >>> from aal_plugin.core.student.maps import token_attention
        >>> len(normed_reader(attn, token_attention, grid, 1).sources)
        2
    """
    sources = (Source(attn.q_norm, output_of), Source(attn.k_norm, output_of), *extras)
    return BlockReader(attn, sources, grid, attn.num_heads, read, block, num_prefix_tokens)


def input_reader(
    attn: Foreign, grid: Source, num_prefix_tokens: int, block: nn.Module | None = None
) -> BlockReader:
    """Read class-token attention from the input of a block that uses the weight of `qkv` alone.

    Example:
        >>> attn = nn.Module()
        >>> attn.qkv, attn.num_heads = nn.Linear(16, 48), 2
        >>> reader = input_reader(attn, Source(nn.Conv2d(3, 16, 4, 4), output_of), 1)
        >>> reader.sources[0].module is attn
        True
    """
    read = partial(input_class_token_attention, attn=attn, num_prefix_tokens=num_prefix_tokens)
    sources = (Source(attn, first_input),)
    return BlockReader(attn, sources, grid, attn.num_heads, read, block, num_prefix_tokens)


def matrix_reader(
    attn: Foreign,
    grid: Source,
    num_prefix_tokens: int,
    class_token: bool,
    block: nn.Module | None = None,
) -> BlockReader:
    """Read attention from the softmax weights (B, M, T, T) that enter a block's `attn_drop`.

    Example:
        >>> attn = nn.Module()
        >>> attn.attn_drop, attn.num_heads = nn.Dropout(), 2
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_of)
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
        >>> attn = nn.Module()
        >>> attn.attn_drop, attn.num_heads = nn.Dropout(), 2
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_of)
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
