"""The attention of several students on the same images, one row per student.

# h w patch grid, H W image
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from .panels import FOUND, as_text, bare, outline, overlay


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
        students: by name, for each image its attention (h, w), and the box that was cut from the
            attention, or None; drawn as a dashed line.
        predictions: by name, a line for each image, such as 'ring 0.83'; written above its map.
    """
    rows, columns = 1 + len(students), len(images)
    height = 1.15 * rows + 0.3 + (0.2 * len(students) if predictions else 0)
    figure = Figure(figsize=(1.15 * columns + 0.3, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, image, box in zip(grid[0], images, boxes):
        axes.imshow(image)
        outline(axes, box)
    for row, (name, shown) in zip(grid[1:], students.items()):
        row[0].set_ylabel(as_text(name), fontsize=9)
        for axes, image, box, (attention, found) in zip(row, images, boxes, shown):
            overlay(axes, image, attention)
            outline(axes, box)
            outline(axes, found, **FOUND)
        for axes, words in zip(row, (predictions or {}).get(name, ())):
            axes.set_title(as_text(words), fontsize=7, pad=2)
    grid[0, 0].set_ylabel("input", fontsize=9)
    for axes in grid.flat:
        bare(axes)
    frames = {patch.get_label(): patch for axes in grid.flat for patch in axes.patches}
    if frames:
        style = dict(loc="outside lower center", ncols=2, fontsize=7, facecolor="#888888")
        figure.legend(handles=list(frames.values()), **style)
    return figure
