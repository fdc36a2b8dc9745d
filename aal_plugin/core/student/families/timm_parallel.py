"""timm's VisionTransformer with other blocks: parallel, several at once, differential attention."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from aal_plugin.core.student.maps import token_attention
from aal_plugin.core.student.readers import BlockReader, StudentReader, normed_reader
from aal_plugin.core.student.recognise import computes_as, is_a
from aal_plugin.core.student.sources import Foreign, Source, output_grid

from .timm_vit import PLAIN, plain_reader, sizes_of

VIT = "timm.models.vision_transformer"


def timm_parallel(module: Foreign) -> StudentReader | None:
    """VisionTransformer of parallel blocks (ViT-22B) or 18x2 blocks, or differential attention.

    A block of several attention modules counts as several blocks. Differential attention subtracts
    two softmaxes for each head: both are maps, since links can subtract them as well.
    """
    if not is_a(module, f"{VIT}.VisionTransformer"):
        return None
    grid = Source(module.patch_embed.proj, output_grid)
    has_class = module.cls_token is not None
    blocks: list[BlockReader] = []
    for block in module.blocks:
        readers = _readers(block, grid, module.num_prefix_tokens, has_class)
        if readers is None:
            return None
        blocks += readers
    return StudentReader(blocks, *sizes_of(module.patch_embed))


def _readers(
    block: Foreign, grid: Source, num_prefix_tokens: int, class_token: bool
) -> list[BlockReader] | None:
    settings: dict[str, Any] = dict(num_prefix_tokens=num_prefix_tokens, class_token=class_token)
    if computes_as(block, f"{VIT}.ParallelThingsBlock"):
        attentions = [branch.attn for branch in block.attns]
        if not all(computes_as(attn, *PLAIN) for attn in attentions):
            return None
        return [plain_reader(attn, grid, block=None, **settings) for attn in attentions]
    if computes_as(block, f"{VIT}.ParallelScalingBlock"):
        read = partial(_read_heads, scale=block.scale, heads_first=False, **settings)
        return [normed_reader(block, read, grid, num_prefix_tokens, block)]
    attn = getattr(block, "attn", None)
    if attn is not None and computes_as(attn, *PLAIN):
        return [plain_reader(attn, grid, block=block, **settings)]
    differential = f"{VIT}.DiffParallelScalingBlock", "timm.layers.diff_attention.DiffAttention"
    for owner in (block, attn):
        if owner is not None and computes_as(owner, *differential):
            read = partial(_read_heads, scale=owner.scale, heads_first=True, **settings)
            reader = normed_reader(owner, read, grid, num_prefix_tokens, block)
            return [reader._replace(num_heads=2 * owner.num_heads)]
    return None


def _read_heads(
    query: Tensor,
    key: Tensor,
    *,
    grid: tuple[int, int],
    scale: float,
    num_prefix_tokens: int,
    class_token: bool,
    heads_first: bool,
) -> Tensor:
    """Maps from queries and keys, (B, M, T, D) or (B, T, M, D)."""
    if heads_first:
        query, key = query.transpose(1, 2), key.transpose(1, 2)
    return token_attention(query, key, grid, scale, num_prefix_tokens, class_token)
