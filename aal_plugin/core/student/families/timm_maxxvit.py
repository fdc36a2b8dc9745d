"""timm's MaxViT, MaxxViT and CoAtNet: attention over windows, over dilated grids, or over all.

# B batch, W windows of an image, S positions of a window, M heads, D head channels, h w grid
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from aal_plugin.core.student.maps import attention_received
from aal_plugin.core.student.readers import BlockReader, StudentReader
from aal_plugin.core.student.recognise import any_size, computes_as, is_a
from aal_plugin.core.student.sources import Foreign, Source, input_grid, output_grid, output_of
from aal_plugin.core.student.windows import Windows, windows_to_grid

from .timm_relative import bias_sources, position_bias

MAXXVIT = "timm.models.maxxvit"


def timm_maxxvit(module: Foreign) -> StudentReader | None:
    """MaxViT's block and grid attention, CoAtNet's attention over the whole grid."""
    if not is_a(module, f"{MAXXVIT}.MaxxVit"):
        return None
    blocks: list[BlockReader] = []
    for block in module.modules():
        if computes_as(block, f"{MAXXVIT}.PartitionAttentionCl"):
            blocks.append(_reader(block, block.attn, Source(block, input_grid), block))
        elif computes_as(block, f"{MAXXVIT}.PartitionAttention2d"):
            blocks.append(_reader(block, block.attn, Source(block, output_grid), block))
        elif computes_as(block, f"{MAXXVIT}.ParallelPartitionAttention"):
            grid = Source(block, input_grid)
            blocks.append(_reader(block, block.attn_block, grid, block))
            blocks.append(_reader(block, block.attn_grid, grid, block, dilated=True))
        elif computes_as(block, f"{MAXXVIT}.TransformerBlock2d"):
            grid = Source(block.attn.qkv, output_grid)
            blocks.append(_reader(block, block.attn, grid, None))
    return StudentReader(blocks, None, any_size) if blocks else None


def _reader(
    block: Foreign,
    attn: Foreign,
    grid: Source,
    partition: Foreign | None,
    dilated: bool = False,
) -> BlockReader:
    dilated = dilated or not getattr(block, "partition_block", True)
    read = partial(_read, attn=attn, partition=partition, dilated=dilated)
    sources = (Source(attn.qkv, output_of), *bias_sources(attn.rel_pos))
    return BlockReader(attn, sources, grid, attn.num_heads, read, None, 0)


def _read(
    qkv: Tensor,
    recorded: Tensor | None = None,
    *,
    grid: tuple[int, int],
    attn: Foreign,
    partition: Foreign | None,
    dilated: bool,
) -> Tensor:
    """Attention received, from qkv: (B·W, h, w, 3·M·D), or (B·W, 3·M·D, h, w) of Attention2d."""
    tokens = qkv.flatten(1, -2) if is_a(attn, f"{MAXXVIT}.AttentionCl") else qkv.flatten(2).mT
    if attn.head_first:
        query, key, _ = tokens.unflatten(-1, (attn.num_heads, 3, -1)).unbind(-2)
    else:
        query, key, _ = tokens.unflatten(-1, (3, attn.num_heads, -1)).unbind(-3)
    side = grid if partition is None else tuple(partition.partition_size)
    bias = position_bias(attn.rel_pos, recorded)
    maps = attention_received(query, key, side, attn.scale, bias)
    if partition is None:
        return maps
    return windows_to_grid(maps.flatten(-2), Windows(grid, side, dilated=dilated))
