"""How often models disagree (the table of DeiT's section 5.3).

# R models (and the labels), N images
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def disagreement(labels: Sequence[Sequence[int]]) -> np.ndarray:
    """Share of images on which two rows of labels differ. R rows of N labels → (R, R).

    A row holds a model's predictions or the ground truth. The row of the ground truth gives the
    models' error rates.

    Raises:
        ValueError: rows are empty or have different lengths.

    Example:
        >>> disagreement([[0, 1, 2, 3], [0, 1, 2, 0]]).tolist()
        [[0.0, 0.25], [0.25, 0.0]]
    """
    lengths = {len(row) for row in labels}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"rows of labels have lengths {sorted(lengths)}; give one label per image")
    rows = np.asarray(labels)
    return (rows[:, None] != rows[None]).mean(axis=-1)


def format_disagreement(matrix: np.ndarray, names: Sequence[str]) -> str:
    """The matrix as a Markdown table."""
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in zip(names, matrix):
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + " |")
    return "\n".join(lines)


def plot_disagreement(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """The matrix as a heat map, with its values written into the cells."""
    from matplotlib.figure import Figure

    from .panels import as_text

    side = 1.5 + 0.85 * len(names)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="cividis", vmin=0)
    middle = matrix.max() / 2
    for (row, column), value in np.ndenumerate(matrix):
        shade = "white" if value < middle else "black"
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=shade, fontsize=9)
    shown = [as_text(name) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), shown)
    figure.colorbar(image, label="share of images on which they differ", shrink=0.8)
    return figure
