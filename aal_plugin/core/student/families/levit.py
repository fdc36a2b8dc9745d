"""LeViT and TinyViT of timm and of MMPretrain: a learnt bias for each distance, no class token.

# B batch, W windows of an image, N tokens, M heads, K channels of a key, h w grid
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from aal_plugin.core.student.maps import attention_received
from aal_plugin.core.student.readers import BlockReader, StudentReader
from aal_plugin.core.student.recognise import (
    OtherAttention,
    attentions_of,
    computes_as,
    family,
    is_a,
)
from aal_plugin.core.student.recorder import Foreign, Source, constant, input_grid, output_of
from aal_plugin.core.student.windows import Windows, attention_within

TIMM = "timm.models"
MMPRETRAIN = "mmpretrain.models"
LEVIT = (f"{TIMM}.levit.Attention", f"{MMPRETRAIN}.backbones.levit.Attention")
DOWNSAMPLE = (
    f"{TIMM}.levit.AttentionDownsample",
    f"{MMPRETRAIN}.backbones.levit.AttentionSubsample",
)
TINYVIT = (f"{TIMM}.tiny_vit.Attention", f"{MMPRETRAIN}.utils.attention.LeAttention")


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
        if is_a(attn, *LEVIT):
            blocks.append(_levit_reader(attn, attn.qkv))
        else:
            blocks.append(_levit_reader(attn, attn.q, attn.kv))
    height, width = _grid_of(blocks[0].attention)
    return StudentReader(blocks, (16 * height, 16 * width))  # the stem's four strides of 2


def _grid_of(attn: Foreign) -> tuple[int, int]:
    """For which it was built; MMPretrain's are square."""
    side = getattr(attn, "resolution", None) or round(attn.attention_bias_idxs.shape[-1] ** 0.5)
    height, width = (side, side) if isinstance(side, int) else side
    return height, width


def _levit_reader(attn: Foreign, *projections: Foreign) -> BlockReader:
    sources = tuple(Source(projection, output_of) for projection in projections)
    read = partial(_read_levit, attn=attn)
    grid = Source(attn, constant(_grid_of(attn)))
    return BlockReader(attn, sources, grid, attn.num_heads, read)


def _read_levit(*projected: Tensor, grid: tuple[int, int], attn: Foreign) -> Tensor:
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
    layers = [block for block in module.modules() if is_a(block, *known)]
    blocks = []
    for attn, block in zip(attentions_of(layers, *TINYVIT), layers):
        size = getattr(block, "img_size", None)  # MMPretrain's, whose tokens have no grid
        grid = Source(block, input_grid) if size is None else Source(block, constant(tuple(size)))
        read, sources = partial(_read_tinyvit, block=block), (Source(attn.qkv, output_of),)
        blocks.append(BlockReader(attn, sources, grid, attn.num_heads, read, block))
    return StudentReader(blocks)


def _read_tinyvit(qkv: Tensor, *, grid: tuple[int, int], block: Foreign) -> Tensor:
    """Attention received within windows, from qkv (B·W, N, M·(2K + V))."""
    attn, side = block.attn, block.window_size
    heads, width = _heads(qkv, attn.num_heads), attn.key_dim
    query, key = heads[..., :width], heads[..., width : 2 * width]
    windows = Windows(grid, (side, side))
    return attention_within(query, key, windows, attn.scale, distance_bias(attn))
