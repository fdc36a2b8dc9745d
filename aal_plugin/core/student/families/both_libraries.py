"""Families of timm and of MMPretrain alike: CaiT and XCiT, LeViT and TinyViT.

# B batch, W windows of an image, N tokens, M heads, K channels of a key, h w grid
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aal_plugin.core.student.maps import attention_received
from aal_plugin.core.student.readers import (
    BlockReader,
    StudentReader,
    block_reader,
    projections_reader,
)
from aal_plugin.core.student.recognise import (
    OtherAttention,
    attentions_of,
    computes_as,
    family,
    is_a,
)
from aal_plugin.core.student.recorder import (
    Foreign,
    Grid,
    Source,
    constant,
    input_grid,
    output_grid,
    output_of,
    second_output_grid,
)
from aal_plugin.core.student.windows import Windows, attention_within

from .timm_vit import sizes_of

TIMM = "timm.models"
MMPRETRAIN = "mmpretrain.models"
LEVIT = (f"{TIMM}.levit.Attention", f"{MMPRETRAIN}.backbones.levit.Attention")
DOWNSAMPLE = (
    f"{TIMM}.levit.AttentionDownsample",
    f"{MMPRETRAIN}.backbones.levit.AttentionSubsample",
)
CLASS_ATTENTION = (f"{TIMM}.cait.ClassAttn", f"{MMPRETRAIN}.backbones.xcit.ClassAttntion")
TINYVIT = (f"{TIMM}.tiny_vit.Attention", f"{MMPRETRAIN}.utils.attention.LeAttention")


# Only the class-attention blocks of these two are read. CaiT's other blocks mix their heads before
# and after the softmax (talking heads), and XCiT's attend from channel to channel
# (cross-covariance): neither has a softmax over the patches for a map.
@family("timm CaiT", f"{TIMM}.cait.Cait")
def cait(module: Foreign) -> StudentReader:
    """CaiT: its class-attention blocks, `blocks_token_only`."""
    grid = Source(module.patch_embed.proj, output_grid)
    return StudentReader(
        _class_attention(module.blocks_token_only, grid), *sizes_of(module.patch_embed)
    )


@family("timm and MMPretrain XCiT", f"{TIMM}.xcit.Xcit", f"{MMPRETRAIN}.backbones.xcit.XCiT")
def xcit(module: Foreign) -> StudentReader:
    """XCiT of timm and of MMPretrain: its class-attention blocks."""
    layers = module.ca_layers if hasattr(module, "ca_layers") else module.cls_attn_blocks
    grid = Source(module.patch_embed, second_output_grid)
    return StudentReader(_class_attention(layers or [], grid))


def _class_attention(layers: Iterable[nn.Module], grid: Source) -> list[BlockReader]:
    """Readers of blocks where the class token alone is a query.

    Such a block's output is the class token, so it has no features to put on a grid.
    """
    pairs = attentions_of(layers, *CLASS_ATTENTION)
    return [projections_reader(attn, [attn.q, attn.k], grid, 1, True) for attn, _ in pairs]


@family("timm and MMPretrain LeViT", f"{TIMM}.levit.Levit", f"{MMPRETRAIN}.backbones.levit.LeViT")
def levit(module: Foreign) -> StudentReader:
    """LeViT: its blocks, and the attention that makes a grid smaller, on the grid of its keys."""
    blocks = []
    # Modules are registered in the order in which they run.
    for attn in module.modules():
        if not is_a(attn, *LEVIT, *DOWNSAMPLE):
            continue
        if not computes_as(attn, *LEVIT, *DOWNSAMPLE):
            raise OtherAttention
        parts = [attn.qkv] if is_a(attn, *LEVIT) else [attn.q, attn.kv]
        sources = [Source(part, output_of) for part in parts]
        grid = Source(attn, partial(constant, grid=_grid_of(attn)))
        blocks.append(block_reader(attn, sources, grid, _read_levit, attn=attn))
    height, width = _grid_of(blocks[0].attention)
    return StudentReader(blocks, (16 * height, 16 * width))  # the stem's four strides of 2


def _grid_of(attn: Foreign) -> Grid:
    """For which it was built; MMPretrain's are square."""
    side = getattr(attn, "resolution", None) or round(attn.attention_bias_idxs.shape[-1] ** 0.5)
    height, width = (side, side) if isinstance(side, int) else side
    return height, width


def _read_levit(*projected: Tensor, grid: Grid, attn: Foreign) -> Tensor:
    """Attention received, from qkv, or from q and kv."""
    heads = [_heads(tensor, attn.num_heads) for tensor in projected]
    width = attn.key_dim
    query, key = heads[0][..., :width], heads[-1]
    key = key[..., width : 2 * width] if len(heads) == 1 else key[..., :width]
    return attention_received(query, key, grid, attn.scale, distance_bias(attn))


def _heads(tokens: Tensor, num_heads: int) -> Tensor:
    """(B, N, C), or (B, C, h, w) of levit_conv_*, → (B, N, M, C / M)."""
    if tokens.dim() == 4:
        contiguous: Tensor = _ContiguousGradient.apply(tokens)
        tokens = contiguous.flatten(2).mT
    heads: Tensor = tokens.unflatten(-1, (num_heads, -1))
    return heads


class _ContiguousGradient(torch.autograd.Function):
    """The identity; its gradient is laid out as the tensor is.

    torch's BatchNorm on CPUs misreads a transposed gradient of one image: up to 72 times wrong.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.contiguous()


def distance_bias(attn: Foreign) -> Tensor:
    """The bias of each head for the distance of a query and a key, (M, Q, N).

    Both libraries gather it once for evaluation: this is the tensor that the block itself adds.
    """
    bias: Tensor
    if hasattr(attn, "get_attention_biases"):
        bias = attn.get_attention_biases(attn.attention_biases.device)
    elif not attn.training and hasattr(attn, "ab"):
        bias = attn.ab
    else:
        bias = attn.attention_biases[:, attn.attention_bias_idxs]
    return bias


@family(
    "timm and MMPretrain TinyViT",
    f"{TIMM}.tiny_vit.TinyVit",
    f"{MMPRETRAIN}.backbones.tinyvit.TinyViT",
)
def tinyvit(module: Foreign) -> StudentReader:
    """TinyViT: the blocks of its attention stages; the first stage is convolutional."""
    known = (f"{TIMM}.tiny_vit.TinyVitBlock", f"{MMPRETRAIN}.backbones.tinyvit.TinyViTBlock")
    layers = (block for block in module.modules() if is_a(block, *known))
    blocks = []
    for attn, block in attentions_of(layers, *TINYVIT):
        size = getattr(block, "img_size", None)  # MMPretrain's, whose tokens have no grid
        select = input_grid if size is None else partial(constant, grid=tuple(size))
        given = (attn, [Source(attn.qkv, output_of)], Source(block, select), _read_tinyvit)
        blocks.append(block_reader(*given, block, block=block))
    return StudentReader(blocks)


def _read_tinyvit(qkv: Tensor, *, grid: Grid, block: Foreign) -> Tensor:
    """Attention received within windows, from qkv (B·W, N, M·(2K + V))."""
    attn, side = block.attn, block.window_size
    heads, width = _heads(qkv, attn.num_heads), attn.key_dim
    query, key = heads[..., :width], heads[..., width : 2 * width]
    windows = Windows(grid, (side, side))
    return attention_within(query, key, windows, attn.scale, distance_bias(attn))
