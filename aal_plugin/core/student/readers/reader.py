"""What a reader holds: the values to record of a block, and how they become attention maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from aal_plugin.core.student.sources import Source

Read = Callable[..., Tensor]


class BlockReader(NamedTuple):
    """How to read the attention of one block.

    Attributes:
        attention: the module that holds the block's attention weights.
        sources: the values to record, of this module or within it.
        grid: the source of (h, w).
        num_heads: maps of the block, M.
        read: `read(*values, grid=(h, w))` returns the maps (B, M, h, w).
        block: returns the block's tokens (B, T, C), or (B, h, w, C); None if their order is not
            that of the grid.
        num_prefix_tokens: tokens before the patches.

    Example:
        >>> from aal_plugin.core.student.readers import qkv_reader
        >>> from aal_plugin.core.student.sources import output_grid
        >>> attn = nn.Module()
        >>> attn.qkv, attn.num_heads = nn.Linear(16, 48), 2
        >>> grid = Source(nn.Conv2d(3, 16, 4, 4), output_grid)
        >>> qkv_reader(attn, grid, num_prefix_tokens=1, scale=8**-0.5).num_heads
        2
    """

    attention: nn.Module
    sources: tuple[Source, ...]
    grid: Source
    num_heads: int
    read: Read
    block: nn.Module | None
    num_prefix_tokens: int

    @property
    def modules(self) -> list[nn.Module]:
        """The modules that are recorded, and those that `read` calls."""
        used = getattr(self.read, "keywords", {}).values()  # of a partial
        return [source.module for source in (*self.sources, self.grid)] + [
            module for module in used if isinstance(module, nn.Module)
        ]


class StudentReader(NamedTuple):
    """How to read a student: a reader for each block, in their order.

    Attributes:
        blocks: the readers.
        image_size: the (H, W) that the student was built for, or None if it accepts any.
        check: `check(H, W)` raises ValueError if AAL cannot read attention on such images.

    Example:
        >>> StudentReader([], None, lambda height, width: None).image_size is None
        True
    """

    blocks: list[BlockReader]
    image_size: tuple[int, int] | None
    check: Callable[[int, int], None]
