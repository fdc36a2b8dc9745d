"""MMPretrain's ViTs: plain ones, those with windows, and those with relative positions.

# B batch, W windows of an image, M heads, D channels of a head, h w grid
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from aal_plugin.core.student.maps import attention_received
from aal_plugin.core.student.positions import decomposed_bias
from aal_plugin.core.student.readers import (
    BlockReader,
    StudentReader,
    block_reader,
    matrix_reader,
    projections_reader,
)
from aal_plugin.core.student.recognise import attentions_of, family, is_a, patch_of
from aal_plugin.core.student.recorder import (
    Foreign,
    Grid,
    Source,
    first_input,
    input_grid,
    output_grid,
    output_of,
    second_input,
    second_output_grid,
)
from aal_plugin.core.student.windows import Windows, received_in_windows

from .timm_windows import sam_attention

BACKBONES = "mmpretrain.models.backbones"
ATTENTION = "mmpretrain.models.utils.attention"
VIT = f"{BACKBONES}.vision_transformer.VisionTransformer"


@family(
    "MMPretrain VisionTransformer, DistilledVisionTransformer, DeiT3, RevVisionTransformer",
    VIT,
    f"{BACKBONES}.revvit.RevVisionTransformer",
)
def mmpretrain_vit(module: Foreign) -> StudentReader:
    """VisionTransformer, its subclasses DistilledVisionTransformer and DeiT3; RevVisionTransformer.

    RevVisionTransformer runs its blocks without gradients unless no_custom_backward=True; the
    recorder reports it while training.
    """
    grid = Source(module.patch_embed.projection, output_grid)
    blocks = _qkv_readers(module, module.layers, grid)
    if not is_a(module, VIT):  # a reversible block returns two streams: it has no tokens of its own
        blocks = [reader._replace(block=None) for reader in blocks]
    return StudentReader(blocks, *_sizes_of(module))


@family("MMPretrain T2T_ViT", f"{BACKBONES}.t2t_vit.T2T_ViT")
def mmpretrain_t2t(module: Foreign) -> StudentReader:
    """T2T-ViT: the blocks after its tokens-to-token module."""
    grid = Source(module.tokens_to_token, second_output_grid)
    return StudentReader(_qkv_readers(module, module.encoder, grid))


def _qkv_readers(owner: Foreign, layers: Any, grid: Source) -> list[BlockReader]:
    settings = (grid, owner.num_extra_tokens, owner.cls_token is not None)
    return [
        projections_reader(attn, [attn.qkv], *settings, layer)
        for attn, layer in attentions_of(layers, f"{ATTENTION}.MultiheadAttention")
    ]


@family("MMPretrain BEiTViT", f"{BACKBONES}.beit.BEiTViT")
@family("MMPretrain ViTEVA02", f"{BACKBONES}.vit_eva02.ViTEVA02")
def mmpretrain_beit(module: Foreign) -> StudentReader:
    """BEiT, BEiT v2 and EVA-02, whose softmax weights pass through attn_drop."""
    known = (f"{ATTENTION}.BEiTAttention", f"{BACKBONES}.vit_eva02.AttentionWithRoPE")
    grid = Source(module.patch_embed.projection, output_grid)
    settings = (grid, module.num_extra_tokens, module.cls_token is not None)
    pairs = attentions_of(module.layers, *known)
    blocks = [matrix_reader(attn, *settings, layer) for attn, layer in pairs]
    return StudentReader(blocks, *_sizes_of(module))


@family("MMPretrain HiViT", f"{BACKBONES}.hivit.HiViT")
def mmpretrain_hivit(module: Foreign) -> StudentReader:
    """HiViT: the blocks of its main stage; the stages before have no attention."""
    layers = [block for block in module.blocks if getattr(block, "attn", None) is not None]
    grid = Source(module.patch_embed, partial(_cells, patch=module.patch_size))
    pairs = attentions_of(layers, f"{BACKBONES}.hivit.Attention")
    blocks = [matrix_reader(attn, grid, 0, False, layer) for attn, layer in pairs]
    return StudentReader(blocks, tuple(module.patch_embed.img_size))


def _cells(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, patch: int) -> Grid:
    """(h, w) of an image (B, 3, H, W), by the size of its patches."""
    height, width = args[0].shape[-2:]
    return height // patch, width // patch


SWIN = (f"{BACKBONES}.swin_transformer", f"{BACKBONES}.swin_transformer_v2")


@family(
    "MMPretrain SwinTransformer and SwinTransformerV2",
    f"{SWIN[0]}.SwinTransformer",
    f"{SWIN[1]}.SwinTransformerV2",
)
def mmpretrain_swin(module: Foreign) -> StudentReader:
    """Swin Transformer v1 and v2, which themselves reject images smaller than their windows."""
    layers = (block for stage in module.stages for block in stage.blocks)
    blocks = []
    for attn, layer in attentions_of(layers, f"{ATTENTION}.ShiftWindowMSA"):
        sources, grid = [Source(attn.w_msa.attn_drop, first_input)], Source(attn, second_input)
        blocks.append(block_reader(attn.w_msa, sources, grid, _read_swin, layer, attn=attn))
    patch_embed = module.patch_embed
    return StudentReader(blocks, patch_embed.init_input_size, patch_of(patch_embed.projection))


def _read_swin(weights: Tensor, *, grid: Grid, attn: Foreign) -> Tensor:
    side = attn.window_size
    # A grid of one window is not shifted, unless small grids are padded to it.
    shift = attn.shift_size if min(grid) > side or attn.pad_small_map else 0
    windows = Windows((grid[0], grid[1]), (side, side), (shift, shift), pads_first=True)
    return received_in_windows(weights, windows)


@family("MMPretrain ViTSAM", f"{BACKBONES}.vit_sam.ViTSAM")
def mmpretrain_sam(module: Foreign) -> StudentReader:
    """ViTSAM: no class token; windows in most blocks, the whole grid in the others."""
    blocks = []
    for attn, layer in attentions_of(module.layers, f"{BACKBONES}.vit_sam.Attention"):
        sources, grid = [Source(attn.qkv, output_of)], Source(layer, input_grid)
        blocks.append(block_reader(attn, sources, grid, _read_sam, layer, block=layer))
    return StudentReader(blocks, *_sizes_of(module))


def _read_sam(qkv: Tensor, *, grid: Grid, block: Foreign) -> Tensor:
    """Attention received, from qkv (B·W, h, w, 3·M·D)."""
    query, key, _ = qkv.flatten(1, 2).unflatten(-1, (3, block.attn.num_heads, -1)).unbind(2)
    return sam_attention(query, key, grid, block)


@family("MMPretrain MViT", f"{BACKBONES}.mvit.MViT")
def mmpretrain_mvit(module: Foreign) -> StudentReader:
    """MViT v2: attention received, on the pooled grid of the keys."""
    blocks = []
    for attn, _ in attentions_of(module.blocks, f"{BACKBONES}.mvit.MultiScaleAttention"):
        sources = [Source(attn.norm_q, output_of), Source(attn.norm_k, output_of)]
        sources.append(Source(attn.pool_q, output_grid))
        grid = Source(attn.pool_k, output_grid)
        blocks.append(block_reader(attn, sources, grid, _read_mvit, attn=attn))
    return StudentReader(blocks)


def _read_mvit(
    query: Tensor, key: Tensor, query_grid: Grid, *, grid: Grid, attn: Foreign
) -> Tensor:
    """Attention received, from pooled queries and keys (B, M, h·w, D)."""
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    bias = None
    if attn.rel_pos_spatial:
        bias = decomposed_bias(query, attn.rel_pos_h, attn.rel_pos_w, query_grid, grid)
    return attention_received(query, key, grid, attn.scale, bias)


def _sizes_of(module: Foreign) -> tuple[Grid, Grid | None]:
    """The image size of a backbone, and the patch that has to divide other sizes."""
    return tuple(module.img_size), patch_of(module.patch_embed.projection)
