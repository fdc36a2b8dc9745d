"""timm's plain ViTs: one patch grid, and an attention module that hooks can read as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from aal_plugin.core.student.readers import (
    BlockReader,
    StudentReader,
    input_reader,
    matrix_reader,
    qkv_reader,
)
from aal_plugin.core.student.recognise import (
    any_size,
    attentions_of,
    check_patch,
    divides,
    is_a,
)
from aal_plugin.core.student.sources import Foreign, Source, output_grid

TIMM = "timm.models"
PLAIN = ("timm.layers.attention.Attention", f"{TIMM}.vision_transformer.Attention")


def timm_vit(module: Foreign) -> StudentReader | None:
    """VisionTransformer: ViT, DeiT, DeiT-III, with registers, with or without a class token."""
    if not is_a(module, f"{TIMM}.vision_transformer.VisionTransformer"):
        return None
    if attentions_of(module.blocks, *PLAIN) is None:
        return None
    grid = Source(module.patch_embed.proj, output_grid)
    has_class = module.cls_token is not None
    blocks = [
        plain_reader(block.attn, grid, module.num_prefix_tokens, has_class, block)
        for block in module.blocks
    ]
    return StudentReader(blocks, *sizes_of(module.patch_embed))


def timm_beit(module: Foreign) -> StudentReader | None:
    """BEiT and BEiT v2."""
    if not is_a(module, f"{TIMM}.beit.Beit"):
        return None
    if attentions_of(module.blocks, f"{TIMM}.beit.Attention") is None:
        return None
    grid = Source(module.patch_embed.proj, output_grid)
    blocks = [
        input_reader(block.attn, grid, module.num_prefix_tokens, block) for block in module.blocks
    ]
    return StudentReader(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def timm_pit(module: Foreign) -> StudentReader | None:
    """PiT, distilled too: each stage has a grid of its own and the class token."""
    if not is_a(module, f"{TIMM}.pit.PoolingVisionTransformer"):
        return None
    blocks: list[BlockReader] = []
    for stage in module.transformers:
        if attentions_of(stage.blocks, *PLAIN) is None:
            return None
        conv = module.patch_embed.conv if stage.pool is None else stage.pool.conv
        grid = Source(conv, output_grid)
        blocks += [
            plain_reader(block.attn, grid, module.num_tokens, True, block) for block in stage.blocks
        ]
    return StudentReader(blocks, tuple(module.patch_embed.img_size), any_size)


def timm_convit(module: Foreign) -> StudentReader | None:
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


def plain_reader(
    attn: Foreign,
    grid: Source,
    num_prefix_tokens: int,
    class_token: bool,
    block: nn.Module | None,
) -> BlockReader:
    """Read timm's common attention module, with its query and key norms."""
    return qkv_reader(
        attn,
        grid,
        num_prefix_tokens,
        scale=attn.scale,
        class_token=class_token,
        block=block,
        query_norm=attn.q_norm,
        key_norm=attn.k_norm,
    )


def sizes_of(
    patch_embed: Foreign,
) -> tuple[tuple[int, int] | None, Callable[[int, int], None]]:
    """The image size of a patch embedding, and its check of other sizes."""
    if getattr(patch_embed, "dynamic_img_pad", False):  # it pads what patches do not cover
        return None, any_size
    if isinstance(patch_embed.proj, nn.Conv2d):
        return patch_embed.img_size, divides(patch_embed.proj)
    # A stem of several convolutions has a stride of its own.
    return patch_embed.img_size, partial(check_patch, patch_embed.feat_ratio(as_scalar=False))
