"""timm's ViTs with relative position terms: vit_relpos_*, vit_srelpos_* and SAM's samvit_*."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from aal_plugin.core.student.maps import attention_received, token_attention
from aal_plugin.core.student.positions import decomposed_bias, rotate
from aal_plugin.core.student.readers import BlockReader, StudentReader, normed_reader
from aal_plugin.core.student.recognise import any_size, attentions_of, is_a
from aal_plugin.core.student.sources import (
    Foreign,
    Source,
    input_grid,
    keyword,
    output_grid,
    output_of,
)
from aal_plugin.core.student.windows import Windows, windows_to_grid

from .timm_vit import plain_reader, sizes_of

RELPOS = "timm.models.vision_transformer_relpos"
SAM = "timm.models.vision_transformer_sam"


def timm_relpos(module: Foreign) -> StudentReader | None:
    """vit_relpos_* and vit_srelpos_*: a position bias for each block, or one that all share."""
    if not is_a(module, f"{RELPOS}.VisionTransformerRelPos"):
        return None
    if attentions_of(module.blocks, f"{RELPOS}.RelPosAttention") is None:
        return None
    grid = Source(module.patch_embed.proj, output_grid)
    blocks = [_relpos_reader(module, block, grid) for block in module.blocks]
    return StudentReader(blocks, *sizes_of(module.patch_embed))


def _relpos_reader(module: Foreign, block: Foreign, grid: Source) -> BlockReader:
    attn, prefix = block.attn, module.num_prefix_tokens
    if module.cls_token is not None:
        # The bias between class token and patches is one number for each head, which cancels in
        # the softmax of Eq. 3.
        return plain_reader(attn, grid, prefix, True, block)
    shared = (Source(attn, keyword("shared_rel_pos")),)
    extras = shared if module.shared_rel_pos is not None else bias_sources(attn.rel_pos)
    read = partial(_read_relpos, attn=attn, num_prefix_tokens=prefix)
    return normed_reader(attn, read, grid, prefix, block, extras)


def _read_relpos(
    query: Tensor,
    key: Tensor,
    recorded: Tensor | None = None,
    *,
    grid: tuple[int, int],
    attn: Foreign,
    num_prefix_tokens: int,
) -> Tensor:
    """Attention received, from queries and keys (B, M, T, D) and a position bias."""
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    bias = recorded if attn.rel_pos is None else position_bias(attn.rel_pos, recorded)
    return token_attention(query, key, grid, attn.scale, num_prefix_tokens, False, bias=bias)


def bias_sources(rel_pos: Foreign | None) -> tuple[Source, ...]:
    """The value that `position_bias` needs: the output of a network, for RelPosMlp.

    This network has dropout: running it again would give another bias.
    """
    network = getattr(rel_pos, "mlp", None)
    return () if network is None else (Source(network, output_of),)


def position_bias(rel_pos: Foreign | None, recorded: Tensor | None = None) -> Tensor | None:
    """The bias (1, M, T, T) of a timm position module, from the value of `bias_sources`."""
    if rel_pos is None or recorded is None:
        return None if rel_pos is None else rel_pos.get_bias()
    # As RelPosMlp.get_bias does for patches alone.
    bias: Tensor = recorded.view(-1, rel_pos.num_heads)[rel_pos.relative_position_index]
    bias = rel_pos.bias_act(bias.view(rel_pos.bias_shape).permute(2, 0, 1))
    bias = bias if rel_pos.bias_gain is None else rel_pos.bias_gain * bias
    return bias[None]


def timm_sam(module: Foreign) -> StudentReader | None:
    """samvit_*: no class token; windows in most blocks, the whole grid in the others."""
    if not is_a(module, f"{SAM}.VisionTransformerSAM"):
        return None
    if attentions_of(module.blocks, f"{SAM}.Attention") is None:
        return None
    blocks = []
    for block in module.blocks:
        read = partial(_read_sam, attn=block.attn, window=block.window_size)
        blocks.append(normed_reader(block.attn, read, Source(block, input_grid), 0, block))
    return StudentReader(blocks, None, any_size)


def _read_sam(
    query: Tensor, key: Tensor, *, grid: tuple[int, int], attn: Foreign, window: int
) -> Tensor:
    """Attention received, from queries and keys (B·W·M, S, D); W = 1 without windows."""
    query, key = (t.unflatten(0, (-1, attn.num_heads)).transpose(1, 2) for t in (query, key))
    if attn.rope is not None:
        sine, cosine = attn.rope.get_embed().chunk(2, dim=-1)
        query, key = (rotate(t, sine, cosine, half=False) for t in (query, key))
    return sam_attention(query, key, grid, attn, window)


def sam_attention(
    query: Tensor, key: Tensor, grid: tuple[int, int], attn: Foreign, window: int
) -> Tensor:
    """Attention received within windows, or on the whole grid if `window` is 0.

    Args:
        query, key: (B·W, S, M, D).
        grid: (h, w).
        attn: SAM's attention module, timm's or MMPretrain's.
        window: side of the windows; the grid is padded below and on the right.

    Returns:
        (B, M, h, w).
    """
    side = (window, window) if window else grid
    bias = None
    if attn.use_rel_pos:
        bias = decomposed_bias(query, attn.rel_pos_h, attn.rel_pos_w, side, side)
    maps = attention_received(query, key, side, attn.scale, bias)
    return windows_to_grid(maps.flatten(-2), Windows(grid, side)) if window else maps
