"""What a reader holds: the values to record of a block, and how they become attention maps.

# B batch, T tokens, C channels of a token, M heads, D channels of a head, h w patch grid
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .maps import attention_from_weights, projected_attention, qkv_attention
from .recognise import is_a
from .recorder import Foreign, Grid, Source, first_input, output_of


class BlockReader(NamedTuple):
    """How to read the maps of one block, or of a stage.

    Attributes:
        sources: the values to record; the first one is trained.
        grid: the source of (h, w); None: `read` gets the (H, W) of the images.
        read: `read(*values, grid=(h, w))` returns the maps (B, M, h, w). Modules that it uses are
            keywords of a `partial`: a deep copy of the student then has a reader of its own.
        attention: the module with the block's attention weights, if the maps are its attention.
        num_heads: maps of the block, M.
        block: returns the block's tokens (B, T, C), or (B, h, w, C); None if their order is not
            that of the grid.
        num_prefix_tokens: tokens before the patches.
    """

    sources: tuple[Source, ...]
    grid: Source | None
    read: Callable[..., Tensor]
    attention: Foreign = None
    num_heads: int = 0
    block: nn.Module | None = None
    num_prefix_tokens: int = 0


class StudentReader(NamedTuple):
    """How to read a student: a reader for each block, in their order.

    Attributes:
        blocks: the readers.
        image_size: the (H, W) that the student was built for, or None if it accepts any.
        patch: the (h, w) in pixels that has to divide H and W; None if any size will do.
    """

    blocks: list[BlockReader]
    image_size: Grid | None = None
    patch: Grid | None = None


# Names under which attention modules hold their number of heads.
HEADS = ("num_heads", "num_attention_heads", "heads", "n_heads")


def heads_of(attn: Foreign) -> int | None:
    """The number of heads of an attention module, or None."""
    return next((getattr(attn, name) for name in HEADS if hasattr(attn, name)), None)


def scale_of(attn: Foreign) -> float | None:
    """The factor that an attention module puts on the product of queries and keys; None: 1/√D."""
    if is_a(attn, "mmpretrain.models.utils.attention.MultiheadAttention"):
        return _measured_scale(attn)
    scales = (getattr(attn, name, None) for name in ("scale", "scaling"))
    return next((scale for scale in scales if isinstance(scale, (int, float))), None)


@torch.no_grad()
def _measured_scale(attn: Foreign) -> float:
    """The factor that MMPretrain's attention module puts on the product of queries and keys.

    It is measured, since the settings do not show it: MMPretrain's attention divides by its
    `qk_scale` 1/√D, so T2T-ViT's blocks compute q·k·√D. One query and two keys of product 0 and
    1/√D weigh their values 1 to exp(scale/√D).
    """
    width = attn.head_dims
    kind: dict[str, Any] = dict(dtype=torch.float64, device="cpu")
    query, key = (torch.zeros(1, 1, tokens, width, **kind) for tokens in (1, 2))
    query[..., 0], key[..., 1, 0] = 1.0, width**-0.5
    values = torch.eye(2, **kind)[None, None]
    weights = attn.scaled_dot_product_attention(query, key, values, dropout_p=0.0).flatten()
    return float((weights[1] / weights[0]).log() * width**0.5)


def block_reader(
    attn: Foreign,
    sources: Sequence[Source],
    grid: Source,
    read: Callable[..., Tensor],
    block: nn.Module | None = None,
    num_prefix_tokens: int | None = None,
    /,
    **settings: Any,
) -> BlockReader:
    """Read the attention of a module from such values, by `read` with these settings."""
    if num_prefix_tokens is not None:
        settings["num_prefix_tokens"] = num_prefix_tokens
    heads, prefix, read = heads_of(attn) or 0, num_prefix_tokens or 0, partial(read, **settings)
    return BlockReader(tuple(sources), grid, read, attn, heads, block, prefix)


def projections_reader(
    attn: Foreign,
    projections: Sequence[nn.Module],
    grid: Source,
    num_prefix_tokens: int,
    class_token: bool,
    block: nn.Module | None = None,
) -> BlockReader:
    """Read attention from the output of a `qkv` projection, or of a query and a key projection.

    Recording it costs nothing, fused attention stays on, and blocks under gradient checkpointing
    recompute exactly what they would without it. `q_norm` and `k_norm` are applied.

    Args:
        projections: one that returns (B, T, 3·M·D); or two, of which the first returns
            (B, T, M·D), or (B, M·D) for the class token alone, and the second (B, T, M·D).
    """
    return block_reader(
        attn,
        [Source(projection, output_of) for projection in projections],
        grid,
        qkv_attention if len(projections) == 1 else projected_attention,
        block,
        num_prefix_tokens,
        num_heads=heads_of(attn),
        class_token=class_token,
        scale=scale_of(attn),
        query_norm=getattr(attn, "q_norm", None),
        key_norm=getattr(attn, "k_norm", None),
    )


def matrix_reader(
    attn: Foreign,
    grid: Source,
    num_prefix_tokens: int,
    class_token: bool,
    block: nn.Module | None = None,
) -> BlockReader:
    """Read attention from the softmax weights (B, M, T, T) that enter a block's `attn_drop`."""
    sources = [Source(attn.attn_drop, first_input)]
    given = (attn, sources, grid, attention_from_weights, block, num_prefix_tokens)
    return block_reader(*given, class_token=class_token)
