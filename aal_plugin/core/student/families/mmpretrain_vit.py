"""MMPretrain's plain ViTs: one patch grid, and an attention module that hooks can read as it is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import nn

from aal_plugin.core.student.readers import BlockReader, StudentReader, matrix_reader, qkv_reader
from aal_plugin.core.student.recognise import any_size, attentions_of, divides, is_a, own_scale
from aal_plugin.core.student.sources import Foreign, Source, output_grid, second_output_grid

BACKBONES = "mmpretrain.models.backbones"
ATTENTION = "mmpretrain.models.utils.attention"


def mmpretrain_vit(module: Foreign) -> StudentReader | None:
    """VisionTransformer, its subclasses DistilledVisionTransformer and DeiT3; RevVisionTransformer.

    RevVisionTransformer runs its blocks without gradients unless no_custom_backward=True; the
    recorder reports it while training.
    """
    known = (f"{BACKBONES}.vision_transformer.VisionTransformer",)
    if not is_a(module, *known, f"{BACKBONES}.revvit.RevVisionTransformer"):
        return None
    attentions = attentions_of(module.layers, f"{ATTENTION}.MultiheadAttention")
    if attentions is None:
        return None
    grid = Source(module.patch_embed.projection, output_grid)
    # A reversible block returns two streams: it has no tokens of its own.
    reversible = not is_a(module, *known)
    layers = [None] * len(attentions) if reversible else module.layers
    blocks = _qkv_readers(attentions, layers, grid, module)
    return StudentReader(blocks, tuple(module.img_size), divides(module.patch_embed.projection))


def mmpretrain_t2t(module: Foreign) -> StudentReader | None:
    """T2T-ViT: the blocks after its tokens-to-token module."""
    if not is_a(module, f"{BACKBONES}.t2t_vit.T2T_ViT"):
        return None
    attentions = attentions_of(module.encoder, f"{ATTENTION}.MultiheadAttention")
    if attentions is None:
        return None
    grid = Source(module.tokens_to_token, second_output_grid)
    blocks = _qkv_readers(attentions, module.encoder, grid, module)
    return StudentReader(blocks, None, any_size)


def mmpretrain_beit(module: Foreign) -> StudentReader | None:
    """BEiT and BEiT v2, whose softmax weights pass through attn_drop."""
    return _matrix_student(module, f"{BACKBONES}.beit.BEiTViT", f"{ATTENTION}.BEiTAttention")


def mmpretrain_eva02(module: Foreign) -> StudentReader | None:
    """ViTEVA02: rotary positions; its softmax weights pass through attn_drop."""
    path = f"{BACKBONES}.vit_eva02"
    return _matrix_student(module, f"{path}.ViTEVA02", f"{path}.AttentionWithRoPE")


def mmpretrain_hivit(module: Foreign) -> StudentReader | None:
    """HiViT: the blocks of its main stage; the stages before have no attention."""
    path = f"{BACKBONES}.hivit"
    if not is_a(module, f"{path}.HiViT"):
        return None
    layers = [block for block in module.blocks if getattr(block, "attn", None) is not None]
    attentions = attentions_of(layers, f"{path}.Attention")
    if attentions is None:
        return None
    grid = Source(module.patch_embed, partial(_cells, patch=module.patch_size))
    blocks = [
        matrix_reader(attn, grid, 0, class_token=False, block=layer)
        for attn, layer in zip(attentions, layers)
    ]
    return StudentReader(blocks, tuple(module.patch_embed.img_size), any_size)


def _cells(
    args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, patch: int
) -> tuple[int, int]:
    """(h, w) of an image (B, 3, H, W), by the size of its patches."""
    height, width = args[0].shape[-2:]
    return height // patch, width // patch


def _matrix_student(module: Foreign, backbone: str, attention: str) -> StudentReader | None:
    if not is_a(module, backbone):
        return None
    attentions = attentions_of(module.layers, attention)
    if attentions is None:
        return None
    grid = Source(module.patch_embed.projection, output_grid)
    has_class = module.cls_token is not None
    blocks = [
        matrix_reader(attn, grid, module.num_extra_tokens, has_class, layer)
        for attn, layer in zip(attentions, module.layers)
    ]
    return StudentReader(blocks, tuple(module.img_size), divides(module.patch_embed.projection))


def _qkv_readers(
    attentions: Iterable[Foreign],
    blocks: Iterable[nn.Module | None],
    grid: Source,
    owner: Foreign,
) -> list[BlockReader]:
    return [
        qkv_reader(
            attn,
            grid,
            owner.num_extra_tokens,
            scale=own_scale(attn),
            class_token=owner.cls_token is not None,
            block=block,
        )
        for attn, block in zip(attentions, blocks)
    ]
