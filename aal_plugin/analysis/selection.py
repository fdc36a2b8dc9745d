"""Selective links from trained full links; the paper chose Table 1 by eye (AAL, section 4.2).

# L teacher levels, N student blocks
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aal_plugin.core.losses.links import Range


def select_ranges(share: np.ndarray, keep: float) -> list[Range]:
    """For every level, the smallest run of neighbouring blocks that holds `keep` of its links.

    Among several runs of that length, the one that holds most.

    Args:
        share: (L, N), rows that sum to one, see `link_share`.
        keep: in (0, 1].

    Returns:
        (first, last) block per level, 1-based and inclusive: a value for `link_head.links`.

    Raises:
        ValueError: keep is out of range.

    Example:
        >>> import numpy as np
        >>> select_ranges(np.array([[0.1, 0.5, 0.3, 0.1]]), keep=0.8)
        [(2, 3)]
    """
    if not 0 < keep <= 1:
        raise ValueError(f"--keep {keep}; choose a share in (0, 1]")
    return [_smallest_run(row, keep) for row in share]


def held_share(share: np.ndarray, ranges: Sequence[Range]) -> list[float]:
    """The share of every level's links that the ranges hold."""
    return [float(row[first - 1 : last].sum()) for row, (first, last) in zip(share, ranges)]


def _smallest_run(row: np.ndarray, keep: float) -> Range:
    blocks = len(row)
    sums = np.concatenate([[0.0], np.cumsum(row)])
    for length in range(1, blocks + 1):
        held = sums[length:] - sums[:-length]
        first = int(held.argmax())
        # 1e-9 allows for rounding in the sums: with keep = 1 all blocks must suffice.
        if held[first] >= keep - 1e-9:
            return first + 1, first + length
    return 1, blocks
