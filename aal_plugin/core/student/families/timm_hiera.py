"""timm's Hiera: mask units as windows, and tokens in an order that makes pooling cheap.

# B batch, W mask units of an image, S tokens of a unit, N tokens (N = S·W)
# M heads, D channels of a head
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from aal_plugin.core.student.maps import attention_received, check_fills
from aal_plugin.core.student.readers import BlockReader, StudentReader
from aal_plugin.core.student.recognise import any_size, attentions_of, is_a
from aal_plugin.core.student.sources import Foreign, Source, constant, output_of

HIERA = "timm.models.hiera"


def timm_hiera(module: Foreign) -> StudentReader | None:
    """Hiera: attention received, on the grid of the keys, which pooling of queries leaves alone."""
    if not is_a(module, f"{HIERA}.Hiera"):
        return None
    attentions = attentions_of(module.blocks, f"{HIERA}.MaskUnitAttention")
    if attentions is None:
        return None
    blocks = []
    for number, attn in enumerate(attentions):
        order = max(number - 1, 0)  # a block's keys have the order of the block before
        height, width = module.reroll.schedule[order][1]
        read = partial(_read_hiera, attn=attn, reroll=module.reroll, order=order)
        sources = (Source(attn.qkv, output_of),)
        grid = Source(attn, constant((height, width)))
        blocks.append(BlockReader(attn, sources, grid, attn.heads, read, None, 0))
    return StudentReader(blocks, None, any_size)


def _read_hiera(
    qkv: Tensor, *, grid: tuple[int, int], attn: Foreign, reroll: Foreign, order: int
) -> Tensor:
    """Attention received, from qkv (B, N, 3·M·D)."""
    check_fills(qkv.shape[1], grid)
    pooled = attn.q_stride * attn.window_size
    units = qkv.shape[1] // pooled if attn.use_mask_unit_attn else 1
    heads = qkv.unflatten(-1, (3, attn.heads, -1)).unflatten(1, (-1, units)).transpose(1, 2)
    query, key = heads.flatten(0, 1)[:, :, :2].unbind(2)  # (B·W, S, M, D) each
    if attn.q_stride > 1:
        query = query.unflatten(1, (attn.q_stride, -1)).amax(1)
    maps = attention_received(query, key, (1, key.shape[1]), attn.scale)
    tokens = maps.flatten(-2).unflatten(0, (-1, units)).permute(0, 3, 1, 2).flatten(1, 2)
    on_grid: Tensor = reroll(tokens, order).permute(0, 3, 1, 2)
    return on_grid
