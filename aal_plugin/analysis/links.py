"""How strongly each student block is linked to each teacher level (AAL, section 4.1).

# L teacher levels, N student blocks, M heads of a block, C channels of a level
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from torch import Tensor

from aal_plugin.core.losses.links import Range
from aal_plugin.whole_files import written_whole


def find_links(state_dict: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Link weights (C, maps, 1, 1) by level, of names `….links.<level>.weight`."""
    return {
        int(found.group(1)): weight
        for name, weight in state_dict.items()
        if (found := re.search(r"(?:^|\.)links\.(\d+)\.weight$", name))
    }


def head_strength(
    state_dict: Mapping[str, Tensor], ranges: Sequence[Range], heads: Sequence[int]
) -> np.ndarray:
    """Mean magnitude of the link weights between every level and head.

    Args:
        state_dict: holds `….links.<level>.weight`, (C, maps, 1, 1) each.
        ranges: (first, last) student block per level, see `aal_plugin.core.link_ranges`.
        heads: heads of each student block.

    Returns:
        (L, sum of heads), block after block; NaN where no link is.

    Raises:
        ValueError: no links in the state dict, or not those of these ranges and heads.
    """
    weights = find_links(state_dict)
    if not weights:
        raise ValueError("no link weights: was this checkpoint trained with AAL?")
    offsets = [0, *accumulate(heads)]
    strength = np.full((len(ranges), offsets[-1]), np.nan)
    for level, (first, last) in enumerate(ranges):
        start, end = offsets[first - 1], offsets[last]
        maps = weights[level].shape[1] if level in weights else 0
        if maps != end - start:
            raise ValueError(
                f"level {level + 1} has links to {maps} maps, but blocks {first} to {last} have "
                f"{end - start} heads"
            )
        strength[level, start:end] = weights[level].detach().abs().mean(dim=(0, 2, 3)).cpu()
    return strength


def link_strength(
    state_dict: Mapping[str, Tensor], ranges: Sequence[Range], heads: Sequence[int]
) -> np.ndarray:
    """Mean magnitude of the link weights between every level and block (AAL, Fig. 2).

    Arguments and errors as of `head_strength`.

    Returns:
        (L, N); NaN where no link is.
    """
    return np.stack([h.mean(axis=1) for h in _by_block(state_dict, ranges, heads)], axis=1)


def link_share(
    state_dict: Mapping[str, Tensor], ranges: Sequence[Range], heads: Sequence[int]
) -> np.ndarray:
    """Share of every block in the summed magnitudes of a level's links.

    Arguments and errors as of `head_strength`.

    Returns:
        (L, N), rows summing to one; 0 where no link is.

    Raises:
        ValueError: a level whose links are all zero.
    """
    mass = np.stack([h.sum(axis=1) for h in _by_block(state_dict, ranges, heads)], axis=1)
    mass = np.nan_to_num(mass)
    empty = [level + 1 for level, total in enumerate(mass.sum(axis=1)) if total == 0]
    if empty:
        raise ValueError(f"all links of teacher levels {empty} are zero, so no share is defined")
    return mass / mass.sum(axis=1, keepdims=True)


def _by_block(
    state_dict: Mapping[str, Tensor], ranges: Sequence[Range], heads: Sequence[int]
) -> list[np.ndarray]:
    return np.split(head_strength(state_dict, ranges, heads), np.cumsum(heads)[:-1], axis=1)


def write_link_csv(
    path: str | os.PathLike,
    strengths: Mapping[str, np.ndarray],
    columns: Sequence[tuple[int, ...]],
) -> None:
    """One row for each run, level and column; the value is empty where no link is.

    Args:
        strengths: (L, columns) by the run's name.
        columns: (block,) or (block, head) of each column, 1-based.
    """
    places = ("block", "head")[: len(columns[0])]
    with written_whole(path) as part, open(part, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["run", "level", *places, "mean_abs_weight"])
        for run, strength in strengths.items():
            for level, values in enumerate(strength, start=1):
                for place, value in zip(columns, values):
                    shown = "" if np.isnan(value) else f"{value:.6g}"
                    rows.writerow([run, level, *place, shown])
