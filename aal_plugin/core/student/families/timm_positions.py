"""timm's ViTs with rotary positions (EVA-02, DINOv3, NaFlexViT) or relative ones (vit_relpos_*)."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from aal_plugin.core.student.positions import rotate
from aal_plugin.core.student.readers import BlockReader, StudentReader
from aal_plugin.core.student.recognise import OtherAttention, attentions_of, computes_as, family
from aal_plugin.core.student.recorder import (
    Foreign,
    Source,
    keyword,
    output_of,
    second_output_grid,
)

from .timm_vit import PLAIN, heads_reader, plain_grid, qkv_reader, sizes_of

TIMM = "timm.models"
ROTARY = (f"{TIMM}.eva.EvaAttention", "timm.layers.attention.AttentionRope")
RELPOS = f"{TIMM}.vision_transformer_relpos"


@family("timm Eva (EVA-02, DINOv3)", f"{TIMM}.eva.Eva")
def timm_eva(module: Foreign) -> StudentReader:
    """Eva: EVA, EVA-02, DINOv3 ViTs, Perception Encoders; with or without rotary positions."""
    settings = (*plain_grid(module), module.cls_token is not None)
    return StudentReader(_rotary_readers(module, *settings), *sizes_of(module.patch_embed))


@family("timm NaFlexViT", f"{TIMM}.naflexvit.NaFlexVit")
def timm_naflexvit(module: Foreign) -> StudentReader:
    """NaFlexViT, on batches of images of one size; each size has a grid of its own."""
    grid = Source(module.embeds, second_output_grid)
    settings = (grid, module.num_prefix_tokens, module.embeds.cls_token is not None)
    if not all(computes_as(block.attn, *PLAIN) for block in module.blocks):
        return StudentReader(_rotary_readers(module, *settings))
    return StudentReader([qkv_reader(block.attn, *settings, block) for block in module.blocks])


def _rotary_readers(
    module: Foreign, grid: Source, num_prefix_tokens: int, class_token: bool
) -> list[BlockReader]:
    settings = grid, num_prefix_tokens, class_token
    readers = []
    for attn, block in attentions_of(module.blocks, *ROTARY):
        if not hasattr(attn, "q_norm"):  # of older timm
            raise OtherAttention
        rope = Source(attn, partial(keyword, name="rope"))
        extras = (rope,) if module.rope is not None else ()
        readers.append(heads_reader(attn, *settings, block, extras, _rotary))
    return readers


def _rotary(attn: Foreign, rope: Tensor | None = None) -> dict[str, Any]:
    """From a table of sines, then cosines; attention modules without rotation receive None."""
    if rope is None:
        return {}
    sine, cosine = rope.chunk(2, dim=-1)
    half = getattr(attn, "rotate_half", False)
    return dict(rotate=partial(rotate, sine=sine, cosine=cosine, half=half))


@family("timm VisionTransformerRelPos", f"{RELPOS}.VisionTransformerRelPos")
def timm_relpos(module: Foreign) -> StudentReader:
    """vit_relpos_* and vit_srelpos_*: a position bias for each block, or one that all share."""
    grid = plain_grid(module)
    blocks = []
    for attn, block in attentions_of(module.blocks, f"{RELPOS}.RelPosAttention"):
        if module.cls_token is not None:
            # The bias between class token and patches is one number for each head, which cancels
            # in the softmax of Eq. 3.
            blocks.append(qkv_reader(attn, *grid, True, block))
            continue
        shared = Source(attn, partial(keyword, name="shared_rel_pos"))
        extras = bias_sources(attn.rel_pos) if module.shared_rel_pos is None else (shared,)
        blocks.append(heads_reader(attn, *grid, False, block, extras, _relative))
    return StudentReader(blocks, *sizes_of(module.patch_embed))


def _relative(attn: Foreign, recorded: Tensor | None = None) -> dict[str, Any]:
    bias = recorded if attn.rel_pos is None else position_bias(attn.rel_pos, recorded)
    return dict(bias=bias)


def bias_sources(rel_pos: Foreign | None) -> tuple[Source, ...]:
    """The value that `position_bias` needs: the output of a network, for RelPosMlp.

    This network has dropout: running it again would give another bias.
    """
    network = getattr(rel_pos, "mlp", None)
    return () if network is None else (Source(network, output_of),)


def position_bias(rel_pos: Foreign | None, recorded: Tensor | None = None) -> Tensor | None:
    """The bias (1, M, T, T) of a timm position module, from the value of `bias_sources`."""
    if rel_pos is None or recorded is None:
        return None if rel_pos is None else rel_pos.get_bias()
    # As RelPosMlp.get_bias does for patches alone.
    bias: Tensor = recorded.view(-1, rel_pos.num_heads)[rel_pos.relative_position_index]
    bias = rel_pos.bias_act(bias.view(rel_pos.bias_shape).permute(2, 0, 1))
    bias = bias if rel_pos.bias_gain is None else rel_pos.bias_gain * bias
    return bias[None]
