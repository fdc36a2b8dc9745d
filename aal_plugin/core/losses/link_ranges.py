"""Which student blocks feed which teacher level (AAL, Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

Range = tuple[int, int]
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
        rows = [TABLE_1[links][_table_level(level, num_levels)] for level in range(num_levels)]
        return [
            ((first - 1) * num_blocks // 12 + 1, -(-last * num_blocks // 12))
            for first, last in rows
        ]
    if isinstance(links, str) or not isinstance(links, Sequence):
        raise ValueError(
            f"link_head.links={links!r}; choose 'full', 'alpha', 'beta' or one (first, last) pair "
            "per teacher level"
        )
    ranges = [_as_pair(pair) for pair in links]
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


def _table_level(level: int, num_levels: int) -> int:
    return 6 if num_levels == 1 else round(level / (num_levels - 1) * 6)


def _as_pair(pair: Any) -> Range:
    given = [] if isinstance(pair, str) or not hasattr(pair, "__len__") else list(pair)
    whole = [isinstance(block, Integral) and not isinstance(block, bool) for block in given]
    if len(given) != 2 or not all(whole):
        raise ValueError(
            f"link_head.links: {pair!r} is not a (first, last) pair of block numbers, such as "
            "(1, 3); choose whole numbers"
        )
    return int(given[0]), int(given[1])
