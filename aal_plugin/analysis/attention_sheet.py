"""A sheet for one image: the student's attention, and the links' copies of the teacher's maps.

# M heads of a block, C channels of a level, h w map grid, H W image
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure, SubFigure

from aal_plugin.core import resize_maps

from .panels import COLOURS, as_text, bare, outline, overlay
from .shown import Shown

_SIDE = 1.15  # of a map, in inches


class Pair(NamedTuple):
    """An augmented map (h, w) and the teacher map of the same level and channel."""

    level: int
    channel: int
    augmented: np.ndarray
    activation: np.ndarray
    cosine: float


def spread_blocks(total: int, most: int) -> list[int]:
    """At most `most` of `total` blocks, evenly spread from the first to the last.

    Example:
        >>> spread_blocks(12, 4)
        [1, 5, 8, 12]
    """
    return sorted({round(block) for block in np.linspace(1, total, min(most, total))})


def strongest_pairs(shown: Shown, count: int) -> list[Pair]:
    """Pairs of the channels whose teacher map varies most over the image; none without links.

    The choice uses only the teacher's map (its standard deviation), so the sheet shows good and
    bad imitations alike.

    Args:
        shown: the image; its teacher maps are resized here as in training.
        count: channels to choose per level.
    """
    pairs = []
    levels = zip(shown.augmented or (), shown.activations or ())
    for level, (given, teacher) in enumerate(levels, start=1):
        height, width = given.shape[-2:]
        teacher = resize_maps(teacher[None].float(), (height, width))[0]
        flat, target = given.flatten(1), teacher.flatten(1)
        cosine = torch.nn.functional.cosine_similarity(flat, target, dim=1)
        for c in target.std(dim=1).topk(min(count, len(target))).indices.tolist():
            maps = (given[c].numpy(), teacher[c].numpy())
            pairs.append(Pair(level, c + 1, *maps, float(cosine[c])))
    return pairs


def attention_sheet(
    shown: Shown, blocks: Sequence[int], pairs: Sequence[Pair] = (), title: str | None = None
) -> Figure:
    """The input, heads of chosen blocks over it, and augmented maps beside teacher maps.

    Args:
        shown: the image, its box and its maps.
        blocks: blocks whose heads are shown, counted from 1.
        pairs: see `strongest_pairs`; empty for a student without links.
        title: written on top; by default the image's name and the prediction.
    """
    heads = max(len(shown.maps[block - 1]) for block in blocks)
    by_level: dict[int, list[Pair]] = {}
    for pair in pairs:
        by_level.setdefault(pair.level, []).append(pair)
    per_level = max(map(len, by_level.values()), default=0)
    # Heights of the upper and the lower part, in maps: with their titles.
    upper, lower = max(len(blocks), 2) + 0.55, 1.12 * len(by_level) + 0.6
    size = (max(heads + 3.4, 2 * per_level + 0.7), upper + lower * bool(by_level))
    figure = Figure(figsize=(_SIDE * size[0], _SIDE * size[1]), layout="constrained")
    figure.suptitle(as_text(shown.title if title is None else title), fontsize=10)
    if by_level:
        top, bottom = figure.subfigures(2, 1, height_ratios=[upper, lower])
        _draw_pairs(bottom, by_level, per_level)
    else:
        top = figure.subfigures(1, 1)
    left, right = top.subfigures(1, 2, width_ratios=[2.2, heads + 1.2])
    _draw_input(left, shown)
    _draw_heads(right, shown, blocks, heads)
    return figure


def _draw_input(figure: SubFigure, shown: Shown) -> None:
    above, below = figure.subplots(2, 1)
    above.imshow(shown.image)
    above.set_title("input", fontsize=9)
    overlay(below, shown.image, shown.maps[-1].numpy().mean(axis=0))
    below.set_title(f"block {len(shown.maps)}, mean", fontsize=9)
    for axes in (above, below):
        bare(axes)
        axes.set_anchor("N")
        outline(axes, shown.box)


def _draw_heads(figure: SubFigure, shown: Shown, blocks: Sequence[int], heads: int) -> None:
    title = "attention of the student's heads (colours: 0 to each map's maximum), and their mean"
    # About 17 letters fit over each map.
    figure.suptitle(textwrap.fill(title, 17 * (heads + 1)), fontsize=9)
    grid = figure.subplots(len(blocks), heads + 1, squeeze=False)
    for row, block in zip(grid, blocks):
        own = shown.maps[block - 1].numpy()
        for axes in row:
            bare(axes)
        for axes in row[len(own) : -1]:
            axes.set_visible(False)
        for axes, head in zip(row[:-1], own):
            axes.imshow(head, cmap=COLOURS, vmin=0)
        overlay(row[-1], shown.image, own.mean(axis=0))
        row[0].set_ylabel(f"block {block}", fontsize=8)
    for number, axes in enumerate(grid[0, :-1], start=1):
        axes.set_title(f"head {number}", fontsize=8)
    grid[0, -1].set_title("mean", fontsize=8)


def _draw_pairs(figure: SubFigure, by_level: dict[int, list[Pair]], per_level: int) -> None:
    figure.suptitle(
        "augmented maps A⁺ beside the teacher maps B that they imitate (one colour scale per pair)",
        fontsize=9,
    )
    columns = figure.subfigures(1, per_level, squeeze=False)[0]
    for index, column in enumerate(columns):
        grid = column.subplots(len(by_level), 2, squeeze=False)
        for row, (level, own) in zip(grid, by_level.items()):
            for axes in row:
                bare(axes)
                axes.set_visible(index < len(own))
            if index >= len(own):
                continue
            pair = own[index]
            # One scale for both: the loss compares them after division by their norms.
            unit = [m / max(np.linalg.norm(m), 1e-12) for m in (pair.augmented, pair.activation)]
            low, high = min(m.min() for m in unit), max(m.max() for m in unit)
            for axes, values in zip(row, unit):
                axes.imshow(values, cmap=COLOURS, vmin=low, vmax=high)
            row[0].set_title(f"A⁺ of channel {pair.channel}", fontsize=7, pad=3)
            row[1].set_title(f"B, cos {pair.cosine:.2f}", fontsize=7, pad=3)
            if index == 0:
                row[0].set_ylabel(f"level {level}", fontsize=8)
