"""How strongly each student block is linked to each teacher level (AAL, section 4.1).

# L teacher levels, N student blocks, M heads of a block, C channels of a level

The first three arguments of every measure describe the links of a checkpoint, as `read_links`
returns them: a state dict; `ranges`, the (first, last) student block of each level, see
`aal_plugin.core.link_ranges`; and `heads`, the number of heads of each student block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from torch import Tensor

from aal_plugin.core.losses.links import Range

# Names of the two measures, beside colour bars.
LABEL = "mean |link weight|"
GROWTH = "mean |link weight| ÷ its size at the start"


def find_links(state_dict: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Link weights (C, maps, 1, 1) by level, of names `….links.<level>.weight`."""
    return {
        int(found.group(1)): weight
        for name, weight in state_dict.items()
        if (found := re.search(r"(?:^|\.)links\.(\d+)\.weight$", str(name)))
        and isinstance(weight, Tensor)
        and weight.dim() == 4
    }


def link_strength(
    state_dict: Mapping[str, Tensor],
    ranges: Sequence[Range],
    heads: Sequence[int],
    by_head: bool = False,
) -> np.ndarray:
    """Mean magnitude of the link weights between every level and block (AAL, Fig. 2).

    Returns:
        (L, N), or with `by_head` (L, sum of heads), block after block; NaN where there is no link.

    Raises:
        ValueError: the state dict holds no links, or links of other ranges or heads.
    """
    weights = find_links(state_dict)
    if not weights:
        raise ValueError("the state dict holds no link weights; give one that AAL trained")
    offsets = [0, *accumulate(heads)]
    strength = np.full((len(ranges), offsets[-1]), np.nan)
    for level, (first, last) in enumerate(ranges):
        start, end = offsets[first - 1], offsets[last]
        maps = weights[level].shape[1] if level in weights else 0
        if maps != end - start:
            raise ValueError(
                f"teacher level {level + 1} has links to {maps} maps, but blocks {first} to "
                f"{last} have {end - start} heads; give the ranges and heads of this checkpoint"
            )
        strength[level, start:end] = weights[level].detach().abs().mean(dim=(0, 2, 3)).cpu().numpy()
    if by_head:
        return strength
    return np.add.reduceat(strength, offsets[:-1], axis=1) / np.asarray(heads)


def start_strength(ranges: Sequence[Range], heads: Sequence[int]) -> np.ndarray:
    """Expected mean magnitude of the link weights before training, the unit of `link_growth`.

    PyTorch draws the weights of a 1×1 convolution with n input maps uniformly from ±1/√n, so their
    mean magnitude is 1/(2√n): a level with fewer linked blocks starts with larger links.

    Returns:
        (L, N); NaN where there is no link.

    Example:
        >>> start_strength([(1, 2), (2, 2)], heads=[2, 2]).round(3).tolist()
        [[0.25, 0.25], [nan, 0.354]]
    """
    start = np.full((len(ranges), len(heads)), np.nan)
    for level, (first, last) in enumerate(ranges):
        start[level, first - 1 : last] = 0.5 / np.sqrt(sum(heads[first - 1 : last]))
    return start


def link_growth(
    state_dict: Mapping[str, Tensor],
    ranges: Sequence[Range],
    heads: Sequence[int],
    by_head: bool = False,
) -> np.ndarray:
    """`link_strength` divided by that at the start: 1 means unchanged.

    Untrained links scatter around 1: those of C channels and a head by about 0.58 / √C.
    """
    start = start_strength(ranges, heads)
    if by_head:
        start = np.repeat(start, heads, axis=1)
    return link_strength(state_dict, ranges, heads, by_head) / start


def link_share(
    state_dict: Mapping[str, Tensor], ranges: Sequence[Range], heads: Sequence[int]
) -> np.ndarray:
    """Share of every block in the summed magnitudes of a level's links.

    Returns:
        (L, N); every row sums to one, and is 0 where there is no link.

    Raises:
        ValueError: as for `link_strength`; or all links of a level are zero.
    """
    mass = np.nan_to_num(link_strength(state_dict, ranges, heads)) * np.asarray(heads)
    totals = mass.sum(axis=1, keepdims=True)
    if not totals.all():
        empty = [level + 1 for level in np.flatnonzero(totals == 0).tolist()]
        raise ValueError(
            f"all links of teacher levels {empty} are zero, so no block holds a share of them"
        )
    return mass / totals


def select_ranges(share: np.ndarray, keep: float) -> list[Range]:
    """Selective links: for every level, the smallest run of neighbouring blocks with `keep` of it.

    Among several runs of that length, the one that holds most. The paper chose its Table 1 by eye
    (AAL, section 4.2).

    Args:
        share: (L, N), see `link_share`.
        keep: in (0, 1].

    Returns:
        (first, last) block per level: a value for `link_head.links`.

    Raises:
        ValueError: keep is out of range.

    Example:
        >>> select_ranges(np.array([[0.1, 0.5, 0.3, 0.1]]), keep=0.8)
        [(2, 3)]
    """
    if not 0 < keep <= 1:
        raise ValueError(f"--keep {keep}; choose a share in (0, 1]")
    selected = []
    for row in share:
        sums = np.concatenate([[0.0], np.cumsum(row)])
        runs = [sums[length:] - sums[:-length] for length in range(1, len(sums))]
        # 1e-9 allows for rounding in the sums: with keep = 1 all blocks must suffice.
        length, held = next((n, h) for n, h in enumerate(runs) if h.max() >= keep - 1e-9)
        first = int(held.argmax()) + 1
        selected.append((first, first + length))
    return selected
