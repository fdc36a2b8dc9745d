"""Attention links: 1×1 convolutions from a student's maps to a teacher's channels.

# B batch, M heads of a block, C channels of a teacher level, h w map grid (P×P in the paper)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn

from aal_plugin.core.precision import wide_dtype

from .link_distance import augmented_gap
from .link_ranges import Range
from .map_grid import map_grid
from .resize import resize_maps


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
            size: the common grid (h, w). Default: the student's, or 14×14 if its blocks have
                several grids.
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
        with torch.autocast(maps[0].device.type, enabled=False):
            blocks = [resize_maps(block.to(wide_dtype(block)), size) for block in maps]
            stack = torch.cat(blocks, dim=1).flatten(2)
            total = stack.new_zeros((), dtype=dtype)
            for (first, last), levels in self._groups():
                heads = slice(sum(self.heads[: first - 1]), sum(self.heads[:last]))
                weight = torch.cat([convs[level].weight.flatten(1) for level in levels])
                bias = torch.cat([cast(Tensor, convs[level].bias) for level in levels])
                resized = [resize_maps(activations[i], size, antialias) for i in levels]
                activation = torch.cat(resized, dim=1).flatten(2).to(dtype)
                gaps = augmented_gap(weight.to(dtype), bias.to(dtype), stack[:, heads], activation)
                total = total + gaps.sum()
            channels = sum(conv.out_channels for conv in convs)
            return total / (len(stack) * channels * size[0] * size[1])

    def _groups(self) -> list[tuple[Range, list[int]]]:
        """Levels that are linked to the same blocks share one product."""
        groups: dict[Range, list[int]] = {}
        for level, linked in enumerate(self.ranges):
            groups.setdefault(linked, []).append(level)
        return list(groups.items())

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Attention maps of every block, (B, M, h, w) each → augmented maps, (B, C, h, w) each."""
        # One concatenation: a range of blocks is a slice of it, not a copy.
        stack = torch.cat(list(maps), dim=1)
        offsets = [0, *accumulate(block.shape[1] for block in maps)]
        return [
            link(stack[:, offsets[first - 1] : offsets[last]])
            for link, (first, last) in zip(self, self.ranges)
        ]
