"""Settings of the links: which blocks feed which level, and the grid of the maps."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from .links import Range

Links = str | Sequence[Range]

# AAL, Table 1: (first, last) student block, 1-based and inclusive, for each of the seven levels
# of EfficientNet-B3, on a student of twelve blocks.
TABLE_1 = {
    "alpha": ((1, 3), (1, 5), (3, 5), (4, 6), (4, 6), (6, 11), (7, 12)),
    "beta": ((1, 2), (1, 5), (3, 5), (4, 6), (4, 7), (6, 10), (7, 10)),
}


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


def as_pair(value: Any) -> tuple[int, int] | None:
    """A list or tuple of two whole numbers, or None for anything else."""
    pair = list(value) if isinstance(value, Sequence) else []
    whole = (isinstance(n, Integral) and not isinstance(n, bool) for n in pair)
    return (int(pair[0]), int(pair[1])) if len(pair) == 2 and all(whole) else None
