"""Readers of queries and keys: the maps are computed once more from recorded projections.

# B batch, T tokens, M heads, D channels of a head, h w patch grid
"""

from __future__ import annotations

from functools import partial

from torch import nn

from aal_plugin.core.student.qkv import (
    input_class_token_attention,
    projected_attention,
    qkv_attention_received,
    qkv_class_token_attention,
)
from aal_plugin.core.student.sources import Foreign, Source, first_input, output_of

from .reader import BlockReader, Read


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
        >>> from aal_plugin.core.student.sources import output_grid
        >>> attn = nn.Module()
        >>> attn.qkv, attn.num_heads = nn.Linear(16, 48), 2
        >>> reader = qkv_reader(attn, Source(nn.Conv2d(3, 16, 4, 4), output_grid), 1, scale=0.35)
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
        >>> from aal_plugin.core.student.sources import output_grid
        >>> attn = nn.ModuleDict(dict(q=nn.Linear(16, 16), k=nn.Linear(16, 16)))
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_grid)
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
        >>> from aal_plugin.core.student.maps import token_attention
        >>> from aal_plugin.core.student.sources import output_grid
        >>> attn = nn.Module()
        >>> attn.q_norm, attn.k_norm, attn.num_heads = nn.Identity(), nn.Identity(), 2
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_grid)
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
        >>> from aal_plugin.core.student.sources import output_grid
        >>> attn = nn.Module()
        >>> attn.qkv, attn.num_heads = nn.Linear(16, 48), 2
        >>> reader = input_reader(attn, Source(nn.Conv2d(3, 16, 4, 4), output_grid), 1)
        >>> reader.sources[0].module is attn
        True
    """
    read = partial(input_class_token_attention, attn=attn, num_prefix_tokens=num_prefix_tokens)
    sources = (Source(attn, first_input),)
    return BlockReader(attn, sources, grid, attn.num_heads, read, block, num_prefix_tokens)
