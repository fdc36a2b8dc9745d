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
from aal_plugin.core.student.recognise import any_size, attentions_of, computes_as, is_a
from aal_plugin.core.student.sources import Foreign, Source, constant, input_grid, output_of
from aal_plugin.core.student.windows import Windows, windows_to_grid

TIMM = "timm.models"
MMPRETRAIN = "mmpretrain.models"
LEVIT = (f"{TIMM}.levit.Attention", f"{MMPRETRAIN}.backbones.levit.Attention")
DOWNSAMPLE = (
    f"{TIMM}.levit.AttentionDownsample",
    f"{MMPRETRAIN}.backbones.levit.AttentionSubsample",
)
TINYVIT = (f"{TIMM}.tiny_vit.Attention", f"{MMPRETRAIN}.utils.attention.LeAttention")


def levit(module: Foreign) -> StudentReader | None:
    """LeViT: its blocks, and the attention that makes a grid smaller, on the grid of its keys."""
    if not is_a(module, f"{TIMM}.levit.Levit", f"{MMPRETRAIN}.backbones.levit.LeViT"):
        return None
    blocks = []
    # Modules are registered in the order in which they run.
    for attn in module.modules():
        if computes_as(attn, *LEVIT):
            blocks.append(_levit_reader(attn, (attn.qkv,), _grid_of(module, attn)))
        elif computes_as(attn, *DOWNSAMPLE):
            blocks.append(_levit_reader(attn, (attn.q, attn.kv), _grid_of(module, attn)))
    return StudentReader(blocks, None, any_size) if blocks else None


def _grid_of(module: Foreign, attn: Foreign) -> tuple[int, int]:
    """(h, w) for which an attention module was built; MMPretrain's are square."""
    resolution = getattr(attn, "resolution", None)
    if resolution is None:
        resolution = round(attn.attention_bias_idxs.shape[-1] ** 0.5)
    height, width = (resolution,) * 2 if isinstance(resolution, int) else resolution
    return height, width


def _levit_reader(
    attn: Foreign, projections: tuple[Foreign, ...], grid: tuple[int, int]
) -> BlockReader:
    sources = tuple(Source(projection, output_of) for projection in projections)
    read = partial(_read_levit, attn=attn)
    fixed = Source(attn, constant(grid))
    return BlockReader(attn, sources, fixed, attn.num_heads, read, None, 0)


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


def tinyvit(module: Foreign) -> StudentReader | None:
    """TinyViT: the blocks of its attention stages; the first stage is convolutional."""
    if not is_a(module, f"{TIMM}.tiny_vit.TinyVit", f"{MMPRETRAIN}.backbones.tinyvit.TinyViT"):
        return None
    known = (f"{TIMM}.tiny_vit.TinyVitBlock", f"{MMPRETRAIN}.backbones.tinyvit.TinyViTBlock")
    layers = [block for block in module.modules() if is_a(block, *known)]
    if attentions_of(layers, *TINYVIT) is None:
        return None
    blocks = []
    for block in layers:
        size = getattr(block, "img_size", None)  # MMPretrain's, whose tokens have no grid
        grid = Source(block, input_grid) if size is None else Source(block, constant(tuple(size)))
        read = partial(_read_tinyvit, attn=block.attn, window=block.window_size)
        sources = (Source(block.attn.qkv, output_of),)
        blocks.append(BlockReader(block.attn, sources, grid, block.attn.num_heads, read, block, 0))
    return StudentReader(blocks, None, any_size)


def _read_tinyvit(qkv: Tensor, *, grid: tuple[int, int], attn: Foreign, window: int) -> Tensor:
    """Attention received within windows, from qkv (B·W, N, M·(2K + V))."""
    heads, width = _heads(qkv, attn.num_heads), attn.key_dim
    query, key = heads[..., :width], heads[..., width : 2 * width]
    maps = attention_received(query, key, (window, window), attn.scale, distance_bias(attn))
    return windows_to_grid(maps.flatten(-2), Windows(grid, (window, window)))
