"""How strongly each student block is linked to each teacher level (AAL, section 4.1, Fig. 2)."""

from __future__ import annotations

import re
from typing import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ..core.links import Range


def link_strength(
    state_dict: Mapping[str, Tensor], ranges: Sequence[Range], heads: Sequence[int]
) -> np.ndarray:
    """Mean magnitude of the link weights between every level and block.

    Args:
        state_dict: holds `….links.<level>.weight`, (C, maps, 1, 1) each.
        ranges: (first, last) student block per level, see `aal_plugin.core.link_ranges`.
        heads: heads of each student block.

    Returns:
        (levels, blocks); NaN where no link is.

    Raises:
        ValueError: no links in the state dict.
    """
    weights = {
        int(found.group(1)): weight
        for name, weight in state_dict.items()
        if (found := re.search(r"(?:^|\.)links\.(\d+)\.weight$", name))
    }
    if not weights:
        raise ValueError("no link weights: was this checkpoint trained with AAL?")
    strength = np.full((len(ranges), len(heads)), np.nan)
    for level, (first, last) in enumerate(ranges):
        blocks = weights[level].abs().mean(dim=(0, 2, 3)).split(list(heads[first - 1 : last]))
        strength[level, first - 1 : last] = [float(block.mean()) for block in blocks]
    return strength


def plot_link_strength(strength: np.ndarray, title: str = "") -> Figure:
    """A heatmap as in the paper's Fig. 2: student blocks along x, teacher levels up y."""
    levels, blocks = strength.shape
    figure = Figure(figsize=(2.2 + 0.5 * blocks, 1.6 + 0.5 * levels), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(strength, origin="lower", cmap="cividis", aspect="equal")
    axes.set_xticks(range(blocks), range(1, blocks + 1))
    axes.set_yticks(range(levels), range(1, levels + 1))
    axes.set(xlabel="student block", ylabel="teacher level", title=title)
    figure.colorbar(image, label="mean |link weight|", shrink=0.8)
    return figure
