"""MMPretrain's families, see `families.py`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import nn

from aal_plugin.core.student.maps import Windows
from aal_plugin.core.student.readers import (
    BlockReader,
    Source,
    StudentReader,
    any_size,
    attentions_of,
    check_divides,
    divides,
    is_a,
    matrix_reader,
    output_grid,
    own_scale,
    qkv_reader,
    second_input,
    window_reader,
)

BACKBONES = "mmpretrain.models.backbones"
ATTENTION = "mmpretrain.models.utils.attention"


def mmpretrain_vit(module: nn.Module) -> StudentReader | None:
    """VisionTransformer and what derives from it: DistilledVisionTransformer, DeiT3."""
    if not is_a(module, f"{BACKBONES}.vision_transformer.VisionTransformer"):
        return None
    attentions = attentions_of(module.layers, f"{ATTENTION}.MultiheadAttention")
    if attentions is None:
        return None
    grid = Source(module.patch_embed.projection, output_grid)
    blocks = _qkv_readers(attentions, module.layers, grid, module)
    return StudentReader(blocks, tuple(module.img_size), divides(module.patch_embed.projection))


def mmpretrain_t2t(module: nn.Module) -> StudentReader | None:
    """T2T-ViT: the blocks behind its tokens-to-token module."""
    if not is_a(module, f"{BACKBONES}.t2t_vit.T2T_ViT"):
        return None
    attentions = attentions_of(module.encoder, f"{ATTENTION}.MultiheadAttention")
    if attentions is None:
        return None
    grid = Source(module.tokens_to_token, _second_output_grid)
    blocks = _qkv_readers(attentions, module.encoder, grid, module)
    return StudentReader(blocks, None, any_size)


def mmpretrain_beit(module: nn.Module) -> StudentReader | None:
    """BEiT and BEiT v2, whose attention modules make their softmax weights themselves."""
    if not is_a(module, f"{BACKBONES}.beit.BEiTViT"):
        return None
    attentions = attentions_of(module.layers, f"{ATTENTION}.BEiTAttention")
    if attentions is None:
        return None
    grid = Source(module.patch_embed.projection, output_grid)
    has_class = module.cls_token is not None
    blocks = [
        matrix_reader(attn, grid, module.num_extra_tokens, has_class, layer)
        for attn, layer in zip(attentions, module.layers)
    ]
    return StudentReader(blocks, tuple(module.img_size), divides(module.patch_embed.projection))


def mmpretrain_swin(module: nn.Module) -> StudentReader | None:
    """Swin Transformer v1 and v2."""
    known = (f"{BACKBONES}.swin_transformer", f"{BACKBONES}.swin_transformer_v2")
    if not is_a(module, f"{known[0]}.SwinTransformer", f"{known[1]}.SwinTransformerV2"):
        return None
    layers = [block for stage in module.stages for block in stage.blocks]
    shifted = attentions_of(layers, f"{ATTENTION}.ShiftWindowMSA")
    if shifted is None:
        return None
    blocks = [
        window_reader(
            attn.w_msa, Source(attn, second_input), partial(_mmpretrain_windows, attn), layer
        )
        for attn, layer in zip(shifted, layers)
    ]
    projection = module.patch_embed.projection
    size = module.patch_embed.init_input_size
    return StudentReader(blocks, size, partial(_windows_fit, module, projection))


def _qkv_readers(
    attentions: Iterable[nn.Module], blocks: Iterable[nn.Module], grid: Source, owner: nn.Module
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


def _mmpretrain_windows(attn: nn.Module, grid: tuple[int, int]) -> Windows:
    side = attn.window_size
    # A grid of one window is not shifted, unless small grids are padded to it.
    shift = attn.shift_size if min(grid) > side or attn.pad_small_map else 0
    return Windows(tuple(grid), (side, side), (shift, shift), pads_first=True)


def _second_output_grid(inputs: tuple, output: Any) -> Any:
    return tuple(output[1])


def _windows_fit(swin: nn.Module, patch_conv: nn.Conv2d, height: int, width: int) -> None:
    check_divides(patch_conv, height, width)
    grid = (height // patch_conv.stride[0], width // patch_conv.stride[1])
    for number, stage in enumerate(swin.stages, start=1):
        if number > 1:
            grid = tuple(-(-side // 2) for side in grid)
        for block in stage.blocks:
            side = block.attn.window_size
            if min(grid) < side and not block.attn.pad_small_map:
                raise ValueError(
                    f"images of {height}×{width} pixels give stage {number} of the student a grid "
                    f"of {grid[0]}×{grid[1]}, smaller than its window; set "
                    f"backbone.window_size={min(grid)} or less (now {side}), or "
                    "backbone.pad_small_map=True, or take larger images"
                )
