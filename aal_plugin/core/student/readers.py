"""What a reader holds: the values to record of a block, and how they become attention maps.

# B batch, T tokens, C channels of a token, M heads, D channels of a head, h w patch grid
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from .maps import (
    attention_from_weights,
    projected_attention,
    qkv_attention_received,
    qkv_class_token_attention,
)
from .recorder import Foreign, Source, first_input, output_of

Read = Callable[..., Tensor]


class BlockReader(NamedTuple):
    """How to read the attention of one block.

    Attributes:
        attention: the module that holds the block's attention weights.
        sources: the values to record, of this module or within it; the first one is trained.
        grid: the source of (h, w).
        num_heads: maps of the block, M.
        read: `read(*values, grid=(h, w))` returns the maps (B, M, h, w). Modules that it uses are
            keywords of a `partial`: a deep copy of the student then has a reader of its own.
        block: returns the block's tokens (B, T, C), or (B, h, w, C); None if their order is not
            that of the grid.
        num_prefix_tokens: tokens before the patches.
    """

    attention: nn.Module
    sources: tuple[Source, ...]
    grid: Source
    num_heads: int
    read: Read
    block: nn.Module | None = None
    num_prefix_tokens: int = 0

    @property
    def modules(self) -> list[nn.Module]:
        """The modules that are recorded, and those that `read` uses."""
        used = getattr(self.read, "keywords", {}).values()  # of a partial
        return [source.module for source in (*self.sources, self.grid)] + [
            module for module in used if isinstance(module, nn.Module)
        ]


class StudentReader(NamedTuple):
    """How to read a student: a reader for each block, in their order.

    Attributes:
        blocks: the readers.
        image_size: the (H, W) that the student was built for, or None if it accepts any.
        patch: the (h, w) in pixels that has to divide H and W; None if any size will do.
    """

    blocks: list[BlockReader]
    image_size: tuple[int, int] | None = None
    patch: tuple[int, int] | None = None


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
    """Read attention from a query projection (B, T, M·D), or (B, M·D) for the class token alone,
    and a key projection (B, T, M·D).
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


def normed_sources(attn: Foreign) -> tuple[Source, ...]:
    """Queries and keys as timm's attention modules norm them, if only with `nn.Identity`."""
    return Source(attn.q_norm, output_of), Source(attn.k_norm, output_of)


def matrix_reader(
    attn: Foreign,
    grid: Source,
    num_prefix_tokens: int,
    class_token: bool,
    block: nn.Module | None = None,
) -> BlockReader:
    """Read attention from the softmax weights (B, M, T, T) that enter a block's `attn_drop`."""
    read = partial(
        attention_from_weights, num_prefix_tokens=num_prefix_tokens, class_token=class_token
    )
    sources = (Source(attn.attn_drop, first_input),)
    return BlockReader(attn, sources, grid, attn.num_heads, read, block, num_prefix_tokens)
