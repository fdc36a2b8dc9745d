"""timm's ViTs with rotary positions: EVA-02, DINOv3 and NaFlexViT."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from aal_plugin.core.student.maps import token_attention
from aal_plugin.core.student.positions import rotate
from aal_plugin.core.student.readers import BlockReader, StudentReader, normed_reader
from aal_plugin.core.student.recognise import any_size, attentions_of, is_a
from aal_plugin.core.student.sources import (
    Foreign,
    Source,
    keyword,
    output_grid,
    second_output_grid,
)

from .timm_vit import PLAIN, plain_reader, sizes_of

TIMM = "timm.models"
ROTARY = (f"{TIMM}.eva.EvaAttention", "timm.layers.attention.AttentionRope")


def timm_eva(module: Foreign) -> StudentReader | None:
    """Eva: EVA, EVA-02, DINOv3 ViTs, Perception Encoders; with or without rotary positions."""
    if not is_a(module, f"{TIMM}.eva.Eva"):
        return None
    if attentions_of(module.blocks, *ROTARY) is None:
        return None
    grid = Source(module.patch_embed.proj, output_grid)
    blocks = _rotary_readers(module, grid, module.cls_token is not None)
    return StudentReader(blocks, *sizes_of(module.patch_embed))


def timm_naflexvit(module: Foreign) -> StudentReader | None:
    """NaFlexViT, on batches of images of one size; each size has a grid of its own."""
    if not is_a(module, f"{TIMM}.naflexvit.NaFlexVit"):
        return None
    grid = Source(module.embeds, second_output_grid)
    has_class = module.embeds.cls_token is not None
    if attentions_of(module.blocks, *PLAIN) is not None:
        blocks = [
            plain_reader(block.attn, grid, module.num_prefix_tokens, has_class, block)
            for block in module.blocks
        ]
    elif attentions_of(module.blocks, *ROTARY) is not None:
        blocks = _rotary_readers(module, grid, has_class)
    else:
        return None
    return StudentReader(blocks, None, any_size)


def _rotary_readers(module: Foreign, grid: Source, class_token: bool) -> list[BlockReader]:
    readers = []
    for block in module.blocks:
        attn: nn.Module = block.attn
        extras = () if module.rope is None else (Source(attn, keyword("rope")),)
        read = partial(_read_rotary, attn=attn, class_token=class_token)
        readers.append(normed_reader(attn, read, grid, module.num_prefix_tokens, block, extras))
    return readers


def _read_rotary(
    query: Tensor,
    key: Tensor,
    rope: Tensor | None = None,
    *,
    grid: tuple[int, int],
    attn: Foreign,
    class_token: bool,
) -> Tensor:
    """Maps from queries and keys (B, M, T, D), and a table of sines, then cosines."""
    groups = getattr(attn, "num_kv_groups", 1)
    key = key if groups == 1 else key.repeat_interleave(groups, dim=1)  # shared by several heads
    turn = None
    if rope is not None:
        sine, cosine = rope.chunk(2, dim=-1)
        half = getattr(attn, "rotate_half", False)
        turn = partial(rotate, sine=sine, cosine=cosine, half=half)
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    return token_attention(
        query, key, grid, attn.scale, attn.num_prefix_tokens, class_token, rotate=turn
    )
