"""Attention links: 1×1 convolutions from a student's maps to a teacher's channels.

# B batch, M heads of a block, C channels of a teacher level, h w map grid (P×P in the paper)
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, cast

import torch
from torch import Tensor, nn

from aal_plugin.core.precision import wide_dtype

from .link_distance import augmented_gap
from .resize import resize_maps

Range = tuple[int, int]
Links = str | Sequence[Range]

# AAL, Table 1: (first, last) student block, 1-based and inclusive, for each of the seven levels
# of EfficientNet-B3, on a student of twelve blocks.
TABLE_1 = {
    "alpha": ((1, 3), (1, 5), (3, 5), (4, 6), (4, 6), (6, 11), (7, 12)),
    "beta": ((1, 2), (1, 5), (3, 5), (4, 6), (4, 7), (6, 10), (7, 10)),
}


class AttentionLinks(nn.ModuleList):
    """One 1×1 convolution per teacher level, from linked attention maps to channels (AAL, Eq. 4).

    A selective link is a smaller convolution, so blocks that are not linked cost nothing.
    Parameters are `<level>.weight` (C, maps, 1, 1) and `<level>.bias` (C,), levels counted from 0;
    the maps of a weight are the heads of its blocks, block after block.

    Args:
        ranges: (first, last) student block per level, see `link_ranges`.
        heads: number of heads of each student block.
        channels: channels of each teacher level.

    Example:
        >>> links = AttentionLinks([(1, 1), (1, 2)], heads=[3, 3], channels=[8, 16])
        >>> [tuple(link.weight.shape) for link in links]
        [(8, 3, 1, 1), (16, 6, 1, 1)]
        >>> maps = [torch.rand(2, 3, 14, 14)] * 2
        >>> [tuple(level.shape) for level in links(maps)]
        [(2, 8, 14, 14), (2, 16, 14, 14)]
    """

    def __init__(
        self, ranges: Sequence[Range], heads: Sequence[int], channels: Sequence[int]
    ) -> None:
        super().__init__(
            nn.Conv2d(sum(heads[first - 1 : last]), count, kernel_size=1)
            for (first, last), count in zip(ranges, channels)
        )
        self.ranges = list(ranges)
        self.heads = list(heads)

    def distance(
        self,
        maps: Sequence[Tensor],
        activations: Sequence[Tensor],
        size: tuple[int, int] | None = None,
        antialias: bool = False,
    ) -> Tensor:
        """L_att (AAL, Eq. 4 and 5), a scalar in float32 or wider, also under autocast.

        Args:
            maps: attention maps of every student block, (B, M, h, w) each.
            activations: teacher maps of every level, (B, C, H, W) each.
            size: the common grid (h, w); by default that of `map_grid`.
            antialias: smooth before a teacher map is made smaller.

        Raises:
            ValueError: a grid of one position.
        """
        size = size or map_grid(maps)
        if size[0] * size[1] < 2:
            raise ValueError(
                "the student's attention maps have one position each, so they carry no information "
                "after division by their norm; choose larger images, a smaller patch, or map_size"
            )
        dtype = torch.promote_types(maps[0].dtype, torch.float32)
        convs = cast("list[nn.Conv2d]", list(self))
        # Levels that are linked to the same blocks share one product.
        groups: dict[Range, list[int]] = {}
        for level, linked in enumerate(self.ranges):
            groups.setdefault(linked, []).append(level)
        with torch.autocast(maps[0].device.type, enabled=False):
            blocks = [resize_maps(block.to(wide_dtype(block)), size) for block in maps]
            stack = torch.cat(blocks, dim=1).flatten(2)
            total = stack.new_zeros((), dtype=dtype)
            for linked, levels in groups.items():
                weight = torch.cat([convs[level].weight.flatten(1) for level in levels])
                bias = torch.cat([cast(Tensor, convs[level].bias) for level in levels])
                resized = [resize_maps(activations[i], size, antialias) for i in levels]
                activation = torch.cat(resized, dim=1).flatten(2).to(dtype)
                heads = stack[:, self._heads_of(linked)]
                total = (
                    total + augmented_gap(weight.to(dtype), bias.to(dtype), heads, activation).sum()
                )
            channels = sum(conv.out_channels for conv in convs)
            return total / (len(stack) * channels * size[0] * size[1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Attention maps of every block, (B, M, h, w) each → augmented maps, (B, C, h, w) each."""
        # One concatenation: a range of blocks is a slice of it, not a copy.
        stack = torch.cat(list(maps), dim=1)
        return [link(stack[:, self._heads_of(linked)]) for link, linked in zip(self, self.ranges)]

    def _heads_of(self, blocks: Range) -> slice:
        first, last = blocks
        return slice(sum(self.heads[: first - 1]), sum(self.heads[:last]))


def link_ranges(links: Links, num_levels: int, num_blocks: int) -> list[Range]:
    """(first, last) student block of every teacher level, 1-based and inclusive (AAL, Table 1).

    Args:
        links: 'full' links every block to every level. 'alpha' and 'beta' are the paper's
            selective links, stretched over other depths: level l of L uses Table 1's level
            round((l-1)/(L-1)·6)+1, and its range a–b becomes floor((a-1)·N/12)+1 – ceil(b·N/12).
            Or one (first, last) pair per level.
        num_levels: L.
        num_blocks: N.

    Raises:
        ValueError: an unknown name, a pair outside 1–num_blocks, or not one pair per level.

    Example:
        >>> link_ranges("alpha", num_levels=4, num_blocks=12)
        [(1, 3), (3, 5), (4, 6), (7, 12)]
    """
    if isinstance(links, str) and links == "full":
        return [(1, num_blocks)] * num_levels
    if isinstance(links, str) and links in TABLE_1:
        top = num_levels - 1
        levels = [round(level / top * 6) if top else 6 for level in range(num_levels)]
        return [
            ((first - 1) * num_blocks // 12 + 1, -(-last * num_blocks // 12))
            for first, last in (TABLE_1[links][level] for level in levels)
        ]
    if isinstance(links, str) or not isinstance(links, Sequence):
        raise ValueError(
            f"link_head.links={links!r}; choose 'full', 'alpha', 'beta' or one (first, last) pair "
            "per teacher level"
        )
    ranges: list[Any] = [as_pair(pair) for pair in links]
    if None in ranges:
        raise ValueError(
            f"link_head.links: {links[ranges.index(None)]!r} is not a (first, last) pair of block "
            "numbers, such as (1, 3); choose whole numbers"
        )
    if len(ranges) != num_levels:
        raise ValueError(
            f"link_head.links has {len(ranges)} (first, last) pairs, but the teacher has "
            f"{num_levels} levels; give one pair per level"
        )
    for level, (first, last) in enumerate(ranges, start=1):
        if not 1 <= first <= last <= num_blocks:
            raise ValueError(
                f"link_head.links: level {level} has ({first}, {last}); "
                f"choose 1 <= first <= last <= {num_blocks}, the student's blocks"
            )
    return ranges


def as_grid(size: int | Sequence[int] | None, key: str = "map_size") -> tuple[int, int] | None:
    """The grid (h, w) of a setting: a side, (h, w) or None.

    Raises:
        ValueError: not a grid, or a grid of one position: a map of one number, divided by its
            norm, is always 1 or -1.

    Example:
        >>> as_grid(14), as_grid((7, 14)), as_grid(None)
        ((14, 14), (7, 14), None)
    """
    if size is None:
        return None
    grid = as_pair(size if isinstance(size, Sequence) else (size, size))
    if grid is None or min(grid) < 1 or grid == (1, 1):
        raise ValueError(
            f"{key}={size!r}; choose a positive side, (h, w), or None; a grid needs at least two "
            "positions"
        )
    return grid


def map_grid(maps: Sequence[Tensor]) -> tuple[int, int]:
    """The grid that the maps of all blocks share, or 14×14, the paper's, if they have several."""
    grids = {(block.shape[-2], block.shape[-1]) for block in maps}
    return grids.pop() if len(grids) == 1 else (14, 14)


def as_pair(value: Any) -> tuple[int, int] | None:
    """A list or tuple of two whole numbers, or None for anything else."""
    pair = list(value) if isinstance(value, Sequence) else []
    whole = (isinstance(n, Integral) and not isinstance(n, bool) for n in pair)
    return (int(pair[0]), int(pair[1])) if len(pair) == 2 and all(whole) else None
