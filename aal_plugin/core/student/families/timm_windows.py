"""timm's families that attend within windows: no class token, a grid of its own for each stage."""

from __future__ import annotations

from functools import partial

from aal_plugin.core.student.readers import StudentReader, window_reader
from aal_plugin.core.student.recognise import attentions_of, divides, is_a
from aal_plugin.core.student.sources import Foreign, Source, input_grid
from aal_plugin.core.student.windows import Windows

TIMM = "timm.models"


def timm_swin(module: Foreign) -> StudentReader | None:
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
            "timm's experimental fused window attention hides its softmax weights; unset the "
            "environment variable TIMM_FUSED_ATTN=2 for a Swin student"
        )
    blocks = [
        window_reader(attn, Source(layer, input_grid), partial(_windows, layer), layer)
        for attn, layer in zip(attentions, layers)
    ]
    return StudentReader(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def timm_swinv2_cr(module: Foreign) -> StudentReader | None:
    """Swin Transformer v2 of Christoph Reich, `swinv2_cr_*`."""
    path = f"{TIMM}.swin_transformer_v2_cr"
    if not is_a(module, f"{path}.SwinTransformerV2Cr"):
        return None
    layers = [block for stage in module.stages for block in stage.blocks]
    attentions = attentions_of(layers, f"{path}.WindowMultiHeadAttention")
    if attentions is None:
        return None
    blocks = [
        window_reader(attn, Source(layer, input_grid), partial(_windows, layer), layer)
        for attn, layer in zip(attentions, layers)
    ]
    return StudentReader(blocks, module.patch_embed.img_size, divides(module.patch_embed.proj))


def _windows(block: Foreign, grid: tuple[int, int]) -> Windows:
    return Windows(grid, tuple(block.window_size), tuple(block.shift_size))
