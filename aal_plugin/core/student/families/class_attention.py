"""CaiT and XCiT, whose class token comes late: only their class-attention blocks are read.

CaiT's other blocks mix their heads before and after the softmax (talking heads), and XCiT's attend
from channel to channel (cross-covariance): neither has a softmax over the patches for a map.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from aal_plugin.core.student.readers import BlockReader, StudentReader, projections_reader
from aal_plugin.core.student.recognise import attentions_of, family
from aal_plugin.core.student.recorder import Foreign, Source, output_grid, second_output_grid

from .timm_vit import sizes_of

CLASS_ATTENTION = ("timm.models.cait.ClassAttn", "mmpretrain.models.backbones.xcit.ClassAttntion")


@family("timm CaiT", "timm.models.cait.Cait")
def cait(module: Foreign) -> StudentReader:
    """CaiT: its class-attention blocks, `blocks_token_only`."""
    blocks = _class_attention(
        module.blocks_token_only, Source(module.patch_embed.proj, output_grid)
    )
    return StudentReader(blocks, *sizes_of(module.patch_embed))


@family(
    "timm and MMPretrain XCiT", "timm.models.xcit.Xcit", "mmpretrain.models.backbones.xcit.XCiT"
)
def xcit(module: Foreign) -> StudentReader:
    """XCiT of timm and of MMPretrain: its class-attention blocks."""
    layers = module.ca_layers if hasattr(module, "ca_layers") else module.cls_attn_blocks
    blocks = _class_attention(layers or [], Source(module.patch_embed, second_output_grid))
    return StudentReader(blocks)


def _class_attention(layers: Iterable[nn.Module], grid: Source) -> list[BlockReader]:
    """Readers of blocks where the class token alone is a query, or None for other attention.

    Such a block's output is the class token, so it has no features to put on a grid.
    """
    attentions = attentions_of(layers, *CLASS_ATTENTION)
    return [
        projections_reader(attn, attn.q, attn.k, attn.num_heads, grid, 1, attn.scale)
        for attn in attentions
    ]
