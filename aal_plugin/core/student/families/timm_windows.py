"""timm's families that attend within windows: no class token, a grid of its own for each stage.

# B batch, W windows of an image, S positions of a window, N tokens, M heads, D channels of a head
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from aal_plugin.core.student.maps import attention_received, check_fills
from aal_plugin.core.student.positions import decomposed_bias, rotate
from aal_plugin.core.student.readers import BlockReader, StudentReader, block_reader
from aal_plugin.core.student.recognise import (
    OtherAttention,
    attentions_of,
    computes_as,
    family,
    is_a,
    patch_of,
)
from aal_plugin.core.student.recorder import (
    Foreign,
    Grid,
    Source,
    constant,
    first_input,
    input_grid,
    output_grid,
    output_of,
)
from aal_plugin.core.student.windows import Windows, attention_within, received_in_windows

from .timm_positions import bias_sources, position_bias
from .timm_vit import normed_sources

TIMM = "timm.models"
SWIN = (f"{TIMM}.swin_transformer", f"{TIMM}.swin_transformer_v2")
SWIN_CR = f"{TIMM}.swin_transformer_v2_cr"
SAM = f"{TIMM}.vision_transformer_sam"
MAXXVIT = f"{TIMM}.maxxvit"
HIERA = f"{TIMM}.hiera"


@family(
    "timm Swin v1, v2 and SwinTransformerV2Cr",
    f"{SWIN[0]}.SwinTransformer",
    f"{SWIN[1]}.SwinTransformerV2",
    f"{SWIN_CR}.SwinTransformerV2Cr",
)
def timm_swin(module: Foreign) -> StudentReader:
    """Swin Transformer v1 and v2, and v2 of Christoph Reich (`swinv2_cr_*`)."""
    stages = module.stages if hasattr(module, "stages") else module.layers
    known = (*(f"{path}.WindowAttention" for path in SWIN), f"{SWIN_CR}.WindowMultiHeadAttention")
    blocks = []
    for attn, block in attentions_of((block for stage in stages for block in stage.blocks), *known):
        if getattr(attn, "fused_attn", False):
            raise ValueError(
                "timm's experimental fused window attention hides its softmax weights; unset the "
                "environment variable TIMM_FUSED_ATTN=2 for a Swin student"
            )
        sources, grid = [Source(attn.attn_drop, first_input)], Source(block, input_grid)
        blocks.append(block_reader(attn, sources, grid, _read_swin, block, block=block))
    return StudentReader(blocks, module.patch_embed.img_size, patch_of(module.patch_embed.proj))


def _read_swin(weights: Tensor, *, grid: Grid, block: Foreign) -> Tensor:
    windows = Windows(grid, tuple(block.window_size), tuple(block.shift_size))
    return received_in_windows(weights, windows)


@family("timm VisionTransformerSAM", f"{SAM}.VisionTransformerSAM")
def timm_sam(module: Foreign) -> StudentReader:
    """samvit_*: no class token; windows in most blocks, the whole grid in the others."""
    blocks = []
    for attn, block in attentions_of(module.blocks, f"{SAM}.Attention"):
        sources, grid = normed_sources(attn), Source(block, input_grid)
        blocks.append(block_reader(attn, sources, grid, _read_sam, block, block=block))
    rotary = any(block.attn.rope is not None for block in module.blocks)  # for one size
    return StudentReader(blocks, tuple(module.patch_embed.img_size) if rotary else None)


def _read_sam(query: Tensor, key: Tensor, *, grid: Grid, block: Foreign) -> Tensor:
    """Attention received, from queries and keys (B·W·M, S, D); W = 1 without windows."""
    attn = block.attn
    query, key = (t.unflatten(0, (-1, attn.num_heads)).transpose(1, 2) for t in (query, key))
    if attn.rope is not None:
        sine, cosine = attn.rope.get_embed().chunk(2, dim=-1)
        query, key = (rotate(t, sine, cosine, half=False) for t in (query, key))
    return sam_attention(query, key, grid, block)


def sam_attention(query: Tensor, key: Tensor, grid: Grid, block: Foreign) -> Tensor:
    """Attention received within windows, or on the whole grid if `block.window_size` is 0.

    Args:
        query, key: (B·W, S, M, D).
        grid: (h, w); it is padded below and on the right.
        block: SAM's, timm's or MMPretrain's.
    """
    attn = block.attn
    side = (block.window_size, block.window_size) if block.window_size else grid
    bias = None
    if attn.use_rel_pos:
        bias = decomposed_bias(query, attn.rel_pos_h, attn.rel_pos_w, side, side)
    return attention_within(query, key, Windows(grid, side), attn.scale, bias)


PARTITIONED = (
    f"{MAXXVIT}.PartitionAttentionCl",
    f"{MAXXVIT}.PartitionAttention2d",
    f"{MAXXVIT}.ParallelPartitionAttention",
    f"{MAXXVIT}.TransformerBlock2d",
)


@family("timm MaxViT and CoAtNet", f"{MAXXVIT}.MaxxVit")
def timm_maxxvit(module: Foreign) -> StudentReader:
    """MaxViT's and MaxxViT's windows and dilated grids; CoAtNet's attention over the whole grid."""
    blocks: list[BlockReader] = []
    for block in (module for module in module.modules() if is_a(module, *PARTITIONED)):
        if not computes_as(block, *PARTITIONED):
            raise OtherAttention
        dilated = not getattr(block, "partition_block", True)
        if is_a(block, f"{MAXXVIT}.ParallelPartitionAttention"):
            parts = [(block.attn_block, False), (block.attn_grid, True)]
        else:
            parts = [(block.attn, dilated)]
        grid = Source(block, input_grid)
        if is_a(block, f"{MAXXVIT}.PartitionAttention2d"):
            grid = Source(block, output_grid)
        elif is_a(block, f"{MAXXVIT}.TransformerBlock2d"):  # it may make the grid smaller
            grid = Source(block.attn.qkv, output_grid)
        for attn, dilated in parts:
            sources = [Source(attn.qkv, output_of), *bias_sources(attn.rel_pos)]
            settings = dict(attn=attn, block=block, dilated=dilated)
            blocks.append(block_reader(attn, sources, grid, _read_maxxvit, **settings))
    return StudentReader(blocks)


def _read_maxxvit(
    qkv: Tensor,
    recorded: Tensor | None = None,
    *,
    grid: Grid,
    attn: Foreign,
    block: Foreign,
    dilated: bool,
) -> Tensor:
    """Attention received, from qkv: (B·W, h, w, 3·M·D), or (B·W, 3·M·D, h, w) of Attention2d."""
    tokens = qkv.flatten(1, -2) if is_a(attn, f"{MAXXVIT}.AttentionCl") else qkv.flatten(2).mT
    if attn.head_first:
        query, key, _ = tokens.unflatten(-1, (attn.num_heads, 3, -1)).unbind(-2)
    else:
        query, key, _ = tokens.unflatten(-1, (3, attn.num_heads, -1)).unbind(-3)
    side = tuple(getattr(block, "partition_size", grid))  # CoAtNet's blocks have no windows
    bias = position_bias(attn.rel_pos, recorded)
    return attention_within(query, key, Windows(grid, side, dilated=dilated), attn.scale, bias)


@family("timm Hiera", f"{HIERA}.Hiera")
def timm_hiera(module: Foreign) -> StudentReader:
    """Hiera: attention received, on the grid of the keys, which pooling of queries leaves alone."""
    blocks = []
    for number, (attn, _) in enumerate(attentions_of(module.blocks, f"{HIERA}.MaskUnitAttention")):
        order = max(number - 1, 0)  # a block's keys have the order of the block before
        grid = Source(attn, partial(constant, grid=tuple(module.reroll.schedule[order][1])))
        settings = dict(attn=attn, reroll=module.reroll, order=order)
        sources = [Source(attn.qkv, output_of)]
        blocks.append(block_reader(attn, sources, grid, _read_hiera, **settings))
    height, width = (n * stride for n, stride in zip(module.unroll.size, module.patch_stride))
    return StudentReader(blocks, (height, width))


def _read_hiera(qkv: Tensor, *, grid: Grid, attn: Foreign, reroll: Foreign, order: int) -> Tensor:
    """Attention received, from qkv (B, N, 3·M·D) in the order of the mask units, as windows."""
    check_fills(qkv.shape[1], grid)
    pooled = attn.q_stride * attn.window_size
    units = qkv.shape[1] // pooled if attn.use_mask_unit_attn else 1
    heads = qkv.unflatten(-1, (3, attn.heads, -1)).unflatten(1, (-1, units)).transpose(1, 2)
    query, key = heads.flatten(0, 1)[:, :, :2].unbind(2)  # (B·W, S, M, D) each
    if attn.q_stride > 1:
        query = query.unflatten(1, (attn.q_stride, -1)).amax(1)
    maps = attention_received(query, key, (1, key.shape[1]), attn.scale)
    tokens = maps.flatten(-2).unflatten(0, (-1, units)).permute(0, 3, 1, 2).flatten(1, 2)
    on_grid: Tensor = reroll(tokens, order).permute(0, 3, 1, 2)
    return on_grid
