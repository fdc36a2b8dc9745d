"""Selective links from trained full links; the paper picked Table 1 by eye (AAL, section 4.2).

# L teacher levels, N student blocks
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aal_plugin.core.losses.links import Range


def select_ranges(share: np.ndarray, keep: float) -> list[Range]:
    """The smallest run of neighbouring blocks of every level that holds `keep` of its links.

    Of several runs of that length the one that holds most is taken.

    Args:
        share: (L, N), rows summing to one, see `link_share`.
        keep: in (0, 1].

    Returns:
        (first, last) block per level, 1-based and inclusive: what `link_head.links` takes.

    Raises:
        ValueError: keep out of its range.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"--keep {keep}; choose a share in (0, 1]")
    return [_smallest_run(row, keep) for row in share]


def held_share(share: np.ndarray, ranges: Sequence[Range]) -> list[float]:
    """What share of every level's links the ranges hold."""
    return [float(row[first - 1 : last].sum()) for row, (first, last) in zip(share, ranges)]


def _smallest_run(row: np.ndarray, keep: float) -> Range:
    blocks = len(row)
    sums = np.concatenate([[0.0], np.cumsum(row)])
    for length in range(1, blocks + 1):
        held = sums[length:] - sums[:-length]
        first = int(held.argmax())
        # The slack is for rounding in the sums: all blocks must do for keep = 1.
        if held[first] >= keep - 1e-9:
            return first + 1, first + length
    return 1, blocks
