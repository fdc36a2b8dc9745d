"""timm's families, see `families.py`."""

from __future__ import annotations

from functools import partial
from typing import Callable, List, Optional, Tuple

from torch import nn

from .attention import Windows
from .tapping import (
    Tap,
    Tapping,
    Watch,
    any_size,
    attentions_of,
    check_patch,
    divides,
    grid_put_out,
    grid_taken_in,
    input_tap,
    is_a,
    matrix_tap,
    qkv_tap,
    window_tap,
)

TIMM = "timm.models"
TIMM_ATTENTION = ("timm.layers.attention.Attention", f"{TIMM}.vision_transformer.Attention")


def timm_vit(module: nn.Module) -> Optional[Tapping]:
    """VisionTransformer: ViT, DeiT, DeiT-III, with registers, with or without a class token."""
    if not is_a(module, f"{TIMM}.vision_transformer.VisionTransformer"):
        return None
    attentions = attentions_of(module.blocks, *TIMM_ATTENTION)
    if attentions is None:
        return None
    grid = Watch(module.patch_embed.proj, grid_put_out)
    has_class = module.cls_token is not None
    blocks = [
        _timm_qkv_tap(block, grid, module.num_prefix_tokens, has_class) for block in module.blocks
    ]
    # With padding of its own, the sides that patches leave over are the student's affair.
    dynamic = module.patch_embed.dynamic_img_pad
    fixed = None if dynamic else module.patch_embed.img_size
    return Tapping(blocks, fixed, any_size if dynamic else _fits_patches(module.patch_embed))


def _fits_patches(patch_embed: nn.Module) -> Callable[[int, int], None]:
    """The check of image sizes; a stem of several convolutions has a stride of its own."""
    if isinstance(patch_embed.proj, nn.Conv2d):
        return divides(patch_embed.proj)
    return partial(check_patch, patch_embed.feat_ratio(as_scalar=False))


def timm_beit(module: nn.Module) -> Optional[Tapping]:
    """BEiT and BEiT v2."""
    if not is_a(module, f"{TIMM}.beit.Beit"):
        return None
    attentions = attentions_of(module.blocks, f"{TIMM}.beit.Attention")
    if attentions is None:
        return None
    grid = Watch(module.patch_embed.proj, grid_put_out)
    blocks = [
        input_tap(block.attn, grid, module.num_prefix_tokens, block) for block in module.blocks
    ]
    return Tapping(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def timm_pit(module: nn.Module) -> Optional[Tapping]:
    """PiT, distilled too: each stage has a grid of its own, and the class token goes along."""
    if not is_a(module, f"{TIMM}.pit.PoolingVisionTransformer"):
        return None
    blocks: List[Tap] = []
    for stage in module.transformers:
        attentions = attentions_of(stage.blocks, *TIMM_ATTENTION)
        if attentions is None:
            return None
        source = module.patch_embed.conv if stage.pool is None else stage.pool.conv
        grid = Watch(source, grid_put_out)
        blocks += [_timm_qkv_tap(block, grid, module.num_tokens, True) for block in stage.blocks]
    return Tapping(blocks, tuple(module.patch_embed.img_size), any_size)


def timm_swin(module: nn.Module) -> Optional[Tapping]:
    """Swin Transformer v1 and v2."""
    known = (f"{TIMM}.swin_transformer", f"{TIMM}.swin_transformer_v2")
    if not is_a(module, f"{known[0]}.SwinTransformer", f"{known[1]}.SwinTransformerV2"):
        return None
    layers = [block for stage in module.layers for block in stage.blocks]
    attentions = attentions_of(layers, *(f"{path}.WindowAttention" for path in known))
    if attentions is None:
        return None
    if any(getattr(attn, "fused_attn", False) for attn in attentions):
        raise ValueError(
            "timm's experimental fused window attention shows no softmax weights; "
            "unset TIMM_FUSED_ATTN=2 for a Swin student"
        )
    blocks = [
        window_tap(attn, Watch(layer, grid_taken_in), partial(_timm_windows, layer), layer)
        for attn, layer in zip(attentions, layers)
    ]
    return Tapping(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def timm_convit(module: nn.Module) -> Optional[Tapping]:
    """ConViT: gated positional attention without a class token, then blocks with one."""
    if not is_a(module, f"{TIMM}.convit.ConVit"):
        return None
    attentions = attentions_of(module.blocks, f"{TIMM}.convit.GPSA", f"{TIMM}.convit.MHSA")
    if attentions is None or not is_a(module.patch_embed, "timm.layers.patch_embed.PatchEmbed"):
        return None
    grid = Watch(module.patch_embed.proj, grid_put_out)
    blocks = [
        matrix_tap(attn, grid, 0, class_token=False, block=block)
        if is_a(attn, f"{TIMM}.convit.GPSA")
        else qkv_tap(attn, grid, 1, attn.scale, block=block)
        for attn, block in zip(attentions, module.blocks)
    ]
    return Tapping(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def _timm_qkv_tap(block: nn.Module, grid: Watch, num_prefix_tokens: int, has_class: bool) -> Tap:
    attn = block.attn
    return qkv_tap(
        attn,
        grid,
        num_prefix_tokens,
        scale=attn.scale,
        class_token=has_class,
        block=block,
        query_norm=attn.q_norm,
        key_norm=attn.k_norm,
    )


def _timm_windows(block: nn.Module, grid: Tuple[int, int]) -> Windows:
    return Windows(grid, tuple(block.window_size), tuple(block.shift_size), pads_first=False)
