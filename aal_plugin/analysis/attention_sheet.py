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
from torch import Tensor

from aal_plugin.core import resize_maps

from .panels import COLOURS, as_text, bare, outline, overlay


class Pair(NamedTuple):
    """An augmented map (h, w) and the teacher map of the same level and channel."""

    level: int
    channel: int
    augmented: np.ndarray
    activation: np.ndarray
    cosine: float


def strongest_pairs(
    augmented: Sequence[Tensor], activations: Sequence[Tensor], count: int
) -> list[Pair]:
    """Pairs of the channels whose teacher map varies most over the image.

    The choice uses only the teacher's map (its standard deviation), so the sheet shows good and
    bad imitations alike.

    Args:
        augmented: A⁺ of every level, (C, h, w) each.
        activations: B of every level, (C, H, W) each; resized here as in training.
        count: channels to choose per level.
    """
    pairs = []
    for level, (given, teacher) in enumerate(zip(augmented, activations), start=1):
        height, width = given.shape[-2:]
        teacher = resize_maps(teacher[None].float(), (height, width))[0]
        flat, target = given.flatten(1), teacher.flatten(1)
        cosine = torch.nn.functional.cosine_similarity(flat, target, dim=1)
        chosen = target.std(dim=1).topk(min(count, len(target))).indices
        pairs += [
            Pair(level, int(c) + 1, given[c].numpy(), teacher[c].numpy(), float(cosine[c]))
            for c in chosen
        ]
    return pairs


def attention_sheet(
    image: np.ndarray,
    maps: Sequence[np.ndarray],
    blocks: Sequence[int],
    pairs: Sequence[Pair] = (),
    box: Sequence[float] | None = None,
    title: str = "",
) -> Figure:
    """The input, heads of chosen blocks over it, and augmented maps beside teacher maps.

    Args:
        image: (H, W, 3) uint8 RGB.
        maps: of every block, (M, h, w) each.
        blocks: blocks whose heads are shown, counted from 1.
        pairs: see `strongest_pairs`; empty for a student without links.
        box: x1, y1, x2, y2 of the object, if the data set has it.
        title: written on top, such as the image's name and the predictions.
    """
    heads = max(len(maps[block - 1]) for block in blocks)
    levels = sorted({pair.level for pair in pairs})
    rows = [max(len(blocks), 2), len(levels)]
    side = 1.15
    per_level = max([sum(p.level == level for p in pairs) for level in levels], default=0)
    width = side * max(heads + 3.4, 2 * per_level + 0.7)
    height = side * (rows[0] + 0.55) + (side * 1.12 * rows[1] + 0.7 if levels else 0)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(as_text(title), fontsize=10)
    if levels:
        ratios = [rows[0] + 0.45, 1.12 * rows[1] + 0.6]
        upper, lower = figure.subfigures(2, 1, height_ratios=ratios)
        _draw_pairs(lower, pairs, levels, per_level)
    else:
        upper = figure.subfigures(1, 1)
    left, right = upper.subfigures(1, 2, width_ratios=[2.2, heads + 1.2])
    _draw_input(left, image, maps, box)
    _draw_heads(right, image, maps, blocks, heads)
    return figure


def _draw_input(
    figure: SubFigure,
    image: np.ndarray,
    maps: Sequence[np.ndarray],
    box: Sequence[float] | None,
) -> None:
    above, below = figure.subplots(2, 1)
    above.imshow(image)
    above.set_title("input", fontsize=9)
    overlay(below, image, maps[-1].mean(axis=0))
    below.set_title(f"block {len(maps)}, mean", fontsize=9)
    for axes in (above, below):
        bare(axes)
        axes.set_anchor("N")
        outline(axes, box)


def _draw_heads(
    figure: SubFigure,
    image: np.ndarray,
    maps: Sequence[np.ndarray],
    blocks: Sequence[int],
    heads: int,
) -> None:
    title = "attention of the student's heads (colours: 0 to each map's maximum), and their mean"
    # About 17 letters fit over each map.
    figure.suptitle(textwrap.fill(title, 17 * (heads + 1)), fontsize=9)
    grid = figure.subplots(len(blocks), heads + 1, squeeze=False)
    for place, block in enumerate(blocks):
        row = grid[place]
        own = maps[block - 1]
        for index, axes in enumerate(row[:-1]):
            bare(axes)
            if index >= len(own):
                axes.set_visible(False)
                continue
            axes.imshow(own[index], cmap=COLOURS, vmin=0)
            if place == 0:
                axes.set_title(f"head {index + 1}", fontsize=8)
        overlay(row[-1], image, own.mean(axis=0))
        bare(row[-1])
        row[0].set_ylabel(f"block {block}", fontsize=8)
    grid[0][-1].set_title("mean", fontsize=8)


def _draw_pairs(
    figure: SubFigure, pairs: Sequence[Pair], levels: Sequence[int], per_level: int
) -> None:
    figure.suptitle(
        "augmented maps A⁺ beside the teacher maps B that they imitate (one colour scale per pair)",
        fontsize=9,
    )
    columns = figure.subfigures(1, per_level, squeeze=False)[0]
    for index, column in enumerate(columns):
        grid = column.subplots(len(levels), 2, squeeze=False)
        for row, level in zip(grid, levels):
            own = [pair for pair in pairs if pair.level == level]
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
