"""Pictures of attention: a sheet for one image, and several students on the same images.

# M heads of a block, C channels of a level, h w map grid, H W image
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from torch import Tensor

from aal_plugin.core import resize_maps

from .curves import as_text
from .heatmap import COLOURS

_SIDE = 1.15  # of a map, in inches
# Lines of the true box, and of the box that is cut from the attention.
_TRUE: dict[str, Any] = dict(edgecolor="#d55e00", linewidth=1.5, label="true box")
_FOUND: dict[str, Any] = dict(
    edgecolor="white", linewidth=1.5, linestyle="--", label="box cut from the attention"
)


class Shown(NamedTuple):
    """An image (H, W, 3) uint8 RGB with the maps of a student and of its teacher.

    `augmented` and `activations` are None for a model without links.
    """

    name: str
    title: str  # the name, the prediction with its score, and the label
    prediction: str  # such as "ring (83%)"
    image: np.ndarray
    box: np.ndarray | None
    maps: list[Tensor]  # (M, h, w) for every block
    augmented: list[Tensor] | None  # (C, h, w) for every level
    activations: list[Tensor] | None  # (C, H, W) for every level


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
    bad imitations alike. The teacher's maps are resized here as in training.
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


def attention_rows(
    images: Sequence[np.ndarray],
    boxes: Sequence[Sequence[float] | None],
    students: Mapping[str, Sequence[tuple[np.ndarray, Sequence[float] | None]]],
    predictions: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Images in the first row, and one row of attention maps per student below.

    Args:
        images: (H, W, 3) uint8 RGB each.
        boxes: x1, y1, x2, y2 of each object, or None; drawn as a full line.
        students: by name, the attention (h, w) on each image, and the box that was cut from it, or
            None; drawn as a dashed line.
        predictions: by name, a line above each map, such as 'ring 0.83'.
    """
    rows, columns = 1 + len(students), len(images)
    height = _SIDE * rows + 0.3 + (0.2 * len(students) if predictions else 0)
    figure = Figure(figsize=(_SIDE * columns + 0.3, height), layout="constrained")
    grid = _bare_grid(figure, rows, columns)
    for axes, image, box in zip(grid[0], images, boxes):
        axes.imshow(image)
        _outline(axes, box)
    for row, (name, shown) in zip(grid[1:], students.items()):
        row[0].set_ylabel(as_text(name), fontsize=9)
        for axes, image, box, (attention, found) in zip(row, images, boxes, shown):
            _overlay(axes, image, attention)
            _outline(axes, box)
            _outline(axes, found, **_FOUND)
        for axes, words in zip(row, (predictions or {}).get(name, ())):
            axes.set_title(as_text(words), fontsize=7, pad=2)
    grid[0, 0].set_ylabel("input", fontsize=9)
    frames = {patch.get_label(): patch for axes in grid.flat for patch in axes.patches}
    if frames:
        style = dict(loc="outside lower center", ncols=2, fontsize=7, facecolor="#888888")
        figure.legend(handles=list(frames.values()), **style)
    return figure


def attention_sheet(
    shown: Shown, blocks: Sequence[int], pairs: Sequence[Pair] = (), title: str | None = None
) -> Figure:
    """The input, heads of chosen blocks over it, and augmented maps beside teacher maps.

    `blocks` count from 1; by default the image's name and the prediction stand on top.
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
    above, below = _bare_grid(figure, 2, 1)[:, 0]
    above.imshow(shown.image)
    above.set_title("input", fontsize=9)
    _overlay(below, shown.image, shown.maps[-1].numpy().mean(axis=0))
    below.set_title(f"block {len(shown.maps)}, mean", fontsize=9)
    for axes in (above, below):
        axes.set_anchor("N")
        _outline(axes, shown.box)


def _draw_heads(figure: SubFigure, shown: Shown, blocks: Sequence[int], heads: int) -> None:
    title = "attention of the student's heads (colours: 0 to each map's maximum), and their mean"
    # About 17 letters fit over each map.
    figure.suptitle(textwrap.fill(title, 17 * (heads + 1)), fontsize=9)
    grid = _bare_grid(figure, len(blocks), heads + 1)
    for row, block in zip(grid, blocks):
        own = shown.maps[block - 1].numpy()
        for axes in row[len(own) : -1]:
            axes.set_visible(False)
        for axes, head in zip(row[:-1], own):
            axes.imshow(head, cmap=COLOURS, vmin=0)
        _overlay(row[-1], shown.image, own.mean(axis=0))
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
        for row, (level, own) in zip(_bare_grid(column, len(by_level), 2), by_level.items()):
            if index >= len(own):
                row[0].set_visible(False)
                row[1].set_visible(False)
                continue
            pair = own[index]
            # One scale for both: the loss compares them after division by their norms.
            unit = [m / max(np.linalg.norm(m), 1e-12) for m in (pair.augmented, pair.activation)]
            for axes, values in zip(row, unit):
                axes.imshow(values, cmap=COLOURS, vmin=np.min(unit), vmax=np.max(unit))
            row[0].set_title(f"A⁺ of channel {pair.channel}", fontsize=7, pad=3)
            row[1].set_title(f"B, cos {pair.cosine:.2f}", fontsize=7, pad=3)
            if index == 0:
                row[0].set_ylabel(f"level {level}", fontsize=8)


def _bare_grid(figure: Figure | SubFigure, rows: int, columns: int) -> np.ndarray:
    """Axes (rows, columns) without ticks and frames."""
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return grid


def _overlay(axes: Axes, image: np.ndarray, attention: np.ndarray) -> None:
    """Draw an attention map (h, w) over an image (H, W, 3) in grey; colours start at 0."""
    height, width = image.shape[:2]
    extent: tuple[float, ...] = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=255, extent=extent)
    axes.imshow(attention, cmap=COLOURS, vmin=0, alpha=0.6, interpolation="bilinear", extent=extent)


def _outline(axes: Axes, box: Sequence[float] | np.ndarray | None, **style: Any) -> None:
    """Draw a box x1, y1, x2, y2; None draws nothing."""
    if box is not None:
        x1, y1, x2, y2 = box
        frame = Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False)
        frame.set(**{**_TRUE, **style})
        axes.add_patch(frame)
