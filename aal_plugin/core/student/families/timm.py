"""timm's families, see `families.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from aal_plugin.core.student.maps import Windows
from aal_plugin.core.student.readers import (
    BlockReader,
    Source,
    StudentReader,
    any_size,
    attentions_of,
    check_patch,
    divides,
    input_grid,
    input_reader,
    is_a,
    matrix_reader,
    output_grid,
    qkv_reader,
    window_reader,
)

TIMM = "timm.models"
TIMM_ATTENTION = ("timm.layers.attention.Attention", f"{TIMM}.vision_transformer.Attention")


def timm_vit(module: nn.Module) -> StudentReader | None:
    """VisionTransformer: ViT, DeiT, DeiT-III, with registers, with or without a class token."""
    if not is_a(module, f"{TIMM}.vision_transformer.VisionTransformer"):
        return None
    attentions = attentions_of(module.blocks, *TIMM_ATTENTION)
    if attentions is None:
        return None
    grid = Source(module.patch_embed.proj, output_grid)
    has_class = module.cls_token is not None
    blocks = [
        _qkv_reader(block, grid, module.num_prefix_tokens, has_class) for block in module.blocks
    ]
    # With padding of its own, the sides that patches leave over are the student's affair.
    dynamic = module.patch_embed.dynamic_img_pad
    fixed = None if dynamic else module.patch_embed.img_size
    return StudentReader(blocks, fixed, any_size if dynamic else _fits_patches(module.patch_embed))


def _fits_patches(patch_embed: nn.Module) -> Callable[[int, int], None]:
    """The check of image sizes; a stem of several convolutions has a stride of its own."""
    if isinstance(patch_embed.proj, nn.Conv2d):
        return divides(patch_embed.proj)
    return partial(check_patch, patch_embed.feat_ratio(as_scalar=False))


def timm_beit(module: nn.Module) -> StudentReader | None:
    """BEiT and BEiT v2."""
    if not is_a(module, f"{TIMM}.beit.Beit"):
        return None
    attentions = attentions_of(module.blocks, f"{TIMM}.beit.Attention")
    if attentions is None:
        return None
    grid = Source(module.patch_embed.proj, output_grid)
    blocks = [
        input_reader(block.attn, grid, module.num_prefix_tokens, block) for block in module.blocks
    ]
    return StudentReader(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def timm_pit(module: nn.Module) -> StudentReader | None:
    """PiT, distilled too: each stage has a grid of its own, and the class token goes along."""
    if not is_a(module, f"{TIMM}.pit.PoolingVisionTransformer"):
        return None
    blocks: list[BlockReader] = []
    for stage in module.transformers:
        attentions = attentions_of(stage.blocks, *TIMM_ATTENTION)
        if attentions is None:
            return None
        source = module.patch_embed.conv if stage.pool is None else stage.pool.conv
        grid = Source(source, output_grid)
        blocks += [_qkv_reader(block, grid, module.num_tokens, True) for block in stage.blocks]
    return StudentReader(blocks, tuple(module.patch_embed.img_size), any_size)


def timm_swin(module: nn.Module) -> StudentReader | None:
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
        window_reader(attn, Source(layer, input_grid), partial(_timm_windows, layer), layer)
        for attn, layer in zip(attentions, layers)
    ]
    return StudentReader(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def timm_convit(module: nn.Module) -> StudentReader | None:
    """ConViT: gated positional attention without a class token, then blocks with one."""
    if not is_a(module, f"{TIMM}.convit.ConVit"):
        return None
    attentions = attentions_of(module.blocks, f"{TIMM}.convit.GPSA", f"{TIMM}.convit.MHSA")
    if attentions is None or not is_a(module.patch_embed, "timm.layers.patch_embed.PatchEmbed"):
        return None
    grid = Source(module.patch_embed.proj, output_grid)
    blocks = [
        matrix_reader(attn, grid, 0, class_token=False, block=block)
        if is_a(attn, f"{TIMM}.convit.GPSA")
        else qkv_reader(attn, grid, 1, attn.scale, block=block)
        for attn, block in zip(attentions, module.blocks)
    ]
    return StudentReader(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def _qkv_reader(
    block: nn.Module, grid: Source, num_prefix_tokens: int, has_class: bool
) -> BlockReader:
    attn = block.attn
    return qkv_reader(
        attn,
        grid,
        num_prefix_tokens,
        scale=attn.scale,
        class_token=has_class,
        block=block,
        query_norm=attn.q_norm,
        key_norm=attn.k_norm,
    )


def _timm_windows(block: nn.Module, grid: tuple[int, int]) -> Windows:
    return Windows(grid, tuple(block.window_size), tuple(block.shift_size), pads_first=False)
