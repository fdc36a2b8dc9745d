"""The architecture families whose attention is known, one adapter each.

An adapter looks at a module and answers with its `Tapping`, or None where it is another family's.
What a module is, it tells by the classes that it and its blocks are made of: a home-grown
subclass is found too, and a subclass that computes its attention in another way is not taken.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from torch import nn

from .attention import Windows
from .tapping import (
    Tap,
    Tapping,
    Watch,
    grid_put_out,
    grid_taken_in,
    input_tap,
    is_a,
    matrix_tap,
    qkv_tap,
    second_taken_in,
    window_tap,
)

MMPRETRAIN = "mmpretrain.models.backbones"
MMPRETRAIN_ATTENTION = "mmpretrain.models.utils.attention"
TIMM = "timm.models"
TIMM_ATTENTION = ("timm.layers.attention.Attention", f"{TIMM}.vision_transformer.Attention")


def mmpretrain_vit(module: nn.Module) -> Optional[Tapping]:
    """VisionTransformer and what derives from it: DistilledVisionTransformer, DeiT3."""
    if not is_a(module, f"{MMPRETRAIN}.vision_transformer.VisionTransformer"):
        return None
    attentions = _attentions(module.layers, f"{MMPRETRAIN_ATTENTION}.MultiheadAttention")
    if attentions is None:
        return None
    grid = Watch(module.patch_embed.projection, grid_put_out)
    blocks = _mmpretrain_qkv_taps(attentions, module.layers, grid, module)
    return Tapping(blocks, tuple(module.img_size), _divides(module.patch_embed.projection))


def mmpretrain_t2t(module: nn.Module) -> Optional[Tapping]:
    """T2T-ViT: the blocks behind its tokens-to-token module."""
    if not is_a(module, f"{MMPRETRAIN}.t2t_vit.T2T_ViT"):
        return None
    attentions = _attentions(module.encoder, f"{MMPRETRAIN_ATTENTION}.MultiheadAttention")
    if attentions is None:
        return None
    grid = Watch(module.tokens_to_token, _second_put_out)
    blocks = _mmpretrain_qkv_taps(attentions, module.encoder, grid, module)
    return Tapping(blocks, None, _any_size)


def mmpretrain_beit(module: nn.Module) -> Optional[Tapping]:
    """BEiT and BEiT v2, whose attention modules make their softmax weights themselves."""
    if not is_a(module, f"{MMPRETRAIN}.beit.BEiTViT"):
        return None
    attentions = _attentions(module.layers, f"{MMPRETRAIN_ATTENTION}.BEiTAttention")
    if attentions is None:
        return None
    grid = Watch(module.patch_embed.projection, grid_put_out)
    has_class = module.cls_token is not None
    blocks = [matrix_tap(attn, grid, module.num_extra_tokens, has_class) for attn in attentions]
    return Tapping(blocks, tuple(module.img_size), _divides(module.patch_embed.projection))


def mmpretrain_swin(module: nn.Module) -> Optional[Tapping]:
    """Swin Transformer v1 and v2."""
    known = (f"{MMPRETRAIN}.swin_transformer", f"{MMPRETRAIN}.swin_transformer_v2")
    if not is_a(module, f"{known[0]}.SwinTransformer", f"{known[1]}.SwinTransformerV2"):
        return None
    layers = [block for stage in module.stages for block in stage.blocks]
    shifted = _attentions(layers, f"{MMPRETRAIN_ATTENTION}.ShiftWindowMSA")
    if shifted is None:
        return None
    blocks = [
        window_tap(
            attn.w_msa, Watch(attn, second_taken_in), partial(_mmpretrain_windows, attn), layer
        )
        for attn, layer in zip(shifted, layers)
    ]
    projection = module.patch_embed.projection
    size = module.patch_embed.init_input_size
    return Tapping(blocks, size, partial(_windows_fit, module, projection))


def timm_vit(module: nn.Module) -> Optional[Tapping]:
    """VisionTransformer: ViT, DeiT, DeiT-III, with registers, with or without a class token."""
    if not is_a(module, f"{TIMM}.vision_transformer.VisionTransformer"):
        return None
    attentions = _attentions(module.blocks, *TIMM_ATTENTION)
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
    return Tapping(blocks, fixed, _any_size if dynamic else _divides(module.patch_embed.proj))


def timm_beit(module: nn.Module) -> Optional[Tapping]:
    """BEiT and BEiT v2."""
    if not is_a(module, f"{TIMM}.beit.Beit"):
        return None
    attentions = _attentions(module.blocks, f"{TIMM}.beit.Attention")
    if attentions is None:
        return None
    grid = Watch(module.patch_embed.proj, grid_put_out)
    blocks = [
        input_tap(block.attn, grid, module.num_prefix_tokens, block) for block in module.blocks
    ]
    return Tapping(blocks, module.patch_embed.img_size, _divides(module.patch_embed.proj))


def timm_pit(module: nn.Module) -> Optional[Tapping]:
    """PiT, distilled too: each stage has a grid of its own, and the class token goes along."""
    if not is_a(module, f"{TIMM}.pit.PoolingVisionTransformer"):
        return None
    blocks: List[Tap] = []
    for stage in module.transformers:
        attentions = _attentions(stage.blocks, *TIMM_ATTENTION)
        if attentions is None:
            return None
        source = module.patch_embed.conv if stage.pool is None else stage.pool.conv
        grid = Watch(source, grid_put_out)
        blocks += [_timm_qkv_tap(block, grid, module.num_tokens, True) for block in stage.blocks]
    return Tapping(blocks, tuple(module.patch_embed.img_size), _any_size)


def timm_swin(module: nn.Module) -> Optional[Tapping]:
    """Swin Transformer v1 and v2."""
    known = (f"{TIMM}.swin_transformer", f"{TIMM}.swin_transformer_v2")
    if not is_a(module, f"{known[0]}.SwinTransformer", f"{known[1]}.SwinTransformerV2"):
        return None
    layers = [block for stage in module.layers for block in stage.blocks]
    attentions = _attentions(layers, *(f"{path}.WindowAttention" for path in known))
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
    return Tapping(blocks, module.patch_embed.img_size, _divides(module.patch_embed.proj))


def timm_convit(module: nn.Module) -> Optional[Tapping]:
    """ConViT: gated positional attention without a class token, then blocks with one."""
    if not is_a(module, f"{TIMM}.convit.ConVit"):
        return None
    attentions = _attentions(module.blocks, f"{TIMM}.convit.GPSA", f"{TIMM}.convit.MHSA")
    if attentions is None or not is_a(module.patch_embed, "timm.layers.patch_embed.PatchEmbed"):
        return None
    grid = Watch(module.patch_embed.proj, grid_put_out)
    blocks = [
        matrix_tap(attn, grid, 0, class_token=False, block=block)
        if is_a(attn, f"{TIMM}.convit.GPSA")
        else qkv_tap(attn, grid, 1, attn.scale, block=block)
        for attn, block in zip(attentions, module.blocks)
    ]
    return Tapping(blocks, module.patch_embed.img_size, _divides(module.patch_embed.proj))


FAMILIES: Dict[str, Callable[[nn.Module], Optional[Tapping]]] = {
    "MMPretrain VisionTransformer, DistilledVisionTransformer, DeiT3": mmpretrain_vit,
    "MMPretrain T2T_ViT": mmpretrain_t2t,
    "MMPretrain BEiTViT": mmpretrain_beit,
    "MMPretrain SwinTransformer and SwinTransformerV2": mmpretrain_swin,
    "timm VisionTransformer (ViT, DeiT, DeiT-III)": timm_vit,
    "timm BEiT": timm_beit,
    "timm PiT": timm_pit,
    "timm Swin v1 and v2": timm_swin,
    "timm ConViT": timm_convit,
}


def known_tapping(student: nn.Module) -> Optional[Tapping]:
    """The tapping of the first module within the student that a family knows, or None."""
    for module in student.modules():
        for family in FAMILIES.values():
            tapping = family(module)
            if tapping is not None:
                return tapping
    return None


def find_tapping(student: nn.Module) -> Tapping:
    """As `known_tapping`.

    Raises:
        ValueError: no family knows any of the student's modules.
    """
    tapping = known_tapping(student)
    if tapping is None:
        raise ValueError(
            f"backbone {type(student).__name__} shows no attention that AAL can read; families "
            f"that do: {'; '.join(FAMILIES)}. For a ViT of your own, name its attention by taps=…"
        )
    return tapping


def _attentions(blocks: Iterable[nn.Module], *class_paths: str) -> Optional[List[nn.Module]]:
    """The blocks' `attn` modules, or None where one is of another class."""
    attentions = [getattr(block, "attn", None) for block in blocks]
    return attentions if all(is_a(attn, *class_paths) for attn in attentions) else None


def _mmpretrain_qkv_taps(
    attentions: Iterable[nn.Module], blocks: Iterable[nn.Module], grid: Watch, owner: nn.Module
) -> List[Tap]:
    return [
        qkv_tap(
            attn,
            grid,
            owner.num_extra_tokens,
            scale=attn.head_dims**-0.5,
            class_token=owner.cls_token is not None,
            block=block,
        )
        for attn, block in zip(attentions, blocks)
    ]


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


def _mmpretrain_windows(attn: nn.Module, grid: Tuple[int, int]) -> Windows:
    side = attn.window_size
    # A grid of one window is not shifted, unless small grids are padded to it.
    shift = attn.shift_size if min(grid) > side or attn.pad_small_map else 0
    return Windows(tuple(grid), (side, side), (shift, shift), pads_first=True)


def _timm_windows(block: nn.Module, grid: Tuple[int, int]) -> Windows:
    return Windows(grid, tuple(block.window_size), tuple(block.shift_size), pads_first=False)


def _second_put_out(inputs: tuple, output: Any) -> Any:
    return tuple(output[1])


def _any_size(height: int, width: int) -> None:
    pass


def _divides(patch_conv: nn.Conv2d) -> Callable[[int, int], None]:
    return partial(_check_divides, patch_conv)


def _check_divides(patch_conv: nn.Conv2d, height: int, width: int) -> None:
    patch_h, patch_w = patch_conv.kernel_size
    if patch_conv.stride == patch_conv.kernel_size and (height % patch_h or width % patch_w):
        raise ValueError(
            f"images of {height}×{width} pixels: the student's patch of {patch_h}×{patch_w} "
            "does not divide them, and attention and activation maps would not line up; "
            f"choose multiples, such as {_nearest(height, patch_h)}×{_nearest(width, patch_w)}"
        )


def _windows_fit(swin: nn.Module, patch_conv: nn.Conv2d, height: int, width: int) -> None:
    _check_divides(patch_conv, height, width)
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


def _nearest(length: int, patch: int) -> int:
    return max(1, round(length / patch)) * patch
