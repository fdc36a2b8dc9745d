"""CaiT and XCiT, whose class token comes late: only their class-attention blocks are read.

CaiT's other blocks mix their heads before and after the softmax (talking heads), and XCiT's attend
from channel to channel (cross-covariance): neither has a softmax over the patches for a map.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from aal_plugin.core.student.readers import BlockReader, StudentReader, projections_reader
from aal_plugin.core.student.recognise import any_size, attentions_of, divides, is_a
from aal_plugin.core.student.sources import Foreign, Source, output_grid, second_output_grid

CLASS_ATTENTION = (
    "timm.models.cait.ClassAttn",
    "mmpretrain.models.backbones.xcit.ClassAttntion",
)


def cait(module: Foreign) -> StudentReader | None:
    """Timm's CaiT: its class-attention blocks, `blocks_token_only`."""
    if not is_a(module, "timm.models.cait.Cait"):
        return None
    projection = module.patch_embed.proj
    blocks = _readers(module.blocks_token_only, Source(projection, output_grid))
    if blocks is None:
        return None
    return StudentReader(blocks, module.patch_embed.img_size, divides(projection))


def xcit(module: Foreign) -> StudentReader | None:
    """XCiT of timm and of MMPretrain: its class-attention blocks."""
    if is_a(module, "timm.models.xcit.Xcit"):
        layers = module.cls_attn_blocks or []
    elif is_a(module, "mmpretrain.models.backbones.xcit.XCiT"):
        layers = module.ca_layers
    else:
        return None
    blocks = _readers(layers, Source(module.patch_embed, second_output_grid))
    return None if blocks is None else StudentReader(blocks, None, any_size)


def _readers(blocks: Iterable[nn.Module], grid: Source) -> list[BlockReader] | None:
    """Readers of blocks where the class token alone is a query, or None for other attention.

    Such a block's output is the class token, so it has no features to put on a grid.
    """
    attentions = attentions_of(blocks, *CLASS_ATTENTION)
    return attentions and [
        projections_reader(attn, attn.q, attn.k, attn.num_heads, grid, 1, attn.scale)
        for attn in attentions
    ]
