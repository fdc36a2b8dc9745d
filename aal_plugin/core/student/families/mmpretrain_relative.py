"""MMPretrain's families with decomposed relative positions: ViTSAM and MViT.

# B batch, W windows of an image, S positions of a window, M heads, D channels of a head, h w grid
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from aal_plugin.core.student.maps import attention_received
from aal_plugin.core.student.positions import decomposed_bias
from aal_plugin.core.student.readers import BlockReader, StudentReader
from aal_plugin.core.student.recognise import any_size, attentions_of, divides, is_a
from aal_plugin.core.student.sources import Foreign, Source, input_grid, output_grid, output_of

from .timm_relative import sam_attention

BACKBONES = "mmpretrain.models.backbones"


def mmpretrain_sam(module: Foreign) -> StudentReader | None:
    """ViTSAM: no class token; windows in most blocks, the whole grid in the others."""
    if not is_a(module, f"{BACKBONES}.vit_sam.ViTSAM"):
        return None
    attentions = attentions_of(module.layers, f"{BACKBONES}.vit_sam.Attention")
    if attentions is None:
        return None
    blocks = []
    for attn, layer in zip(attentions, module.layers):
        read = partial(_read_sam, attn=attn, window=layer.window_size)
        sources, grid = (Source(attn.qkv, output_of),), Source(layer, input_grid)
        blocks.append(BlockReader(attn, sources, grid, attn.num_heads, read, layer, 0))
    return StudentReader(blocks, tuple(module.img_size), divides(module.patch_embed.projection))


def _read_sam(qkv: Tensor, *, grid: tuple[int, int], attn: Foreign, window: int) -> Tensor:
    """Attention received, from qkv (B·W, h, w, 3·M·D)."""
    query, key, _ = qkv.flatten(1, 2).unflatten(-1, (3, attn.num_heads, -1)).unbind(2)
    return sam_attention(query, key, grid, attn, window)


def mmpretrain_mvit(module: Foreign) -> StudentReader | None:
    """MViT v2: attention received, on the pooled grid of the keys."""
    if not is_a(module, f"{BACKBONES}.mvit.MViT"):
        return None
    attentions = attentions_of(module.blocks, f"{BACKBONES}.mvit.MultiScaleAttention")
    if attentions is None:
        return None
    blocks = []
    for attn in attentions:
        sources = (
            Source(attn.norm_q, output_of),
            Source(attn.norm_k, output_of),
            Source(attn.pool_q, output_grid),
        )
        grid = Source(attn.pool_k, output_grid)
        read = partial(_read_mvit, attn=attn)
        blocks.append(BlockReader(attn, sources, grid, attn.num_heads, read, None, 0))
    return StudentReader(blocks, None, any_size)


def _read_mvit(
    query: Tensor,
    key: Tensor,
    query_grid: tuple[int, int],
    *,
    grid: tuple[int, int],
    attn: Foreign,
) -> Tensor:
    """Attention received, from pooled queries and keys (B, M, h·w, D)."""
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    bias = None
    if attn.rel_pos_spatial:
        bias = decomposed_bias(query, attn.rel_pos_h, attn.rel_pos_w, query_grid, grid)
    return attention_received(query, key, grid, attn.scale, bias)
