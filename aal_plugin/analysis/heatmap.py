"""Link heatmaps, side by side, over the epochs and as an animation (AAL, Fig. 2).

# L teacher levels; columns are student blocks, or their heads
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from aal_plugin.core.losses.links import Range
from aal_plugin.files import written_whole

from .curves import as_text
from .links import LABEL

COLOURS = "viridis"  # safe for colour-blind readers; dark to light in print


def plot_link_strength(strength: np.ndarray, title: str = "", label: str = LABEL) -> Figure:
    """A heatmap as in the paper's Fig. 2: student blocks along x, teacher levels along y."""
    return plot_link_strengths({title: strength}, label=label)


def plot_link_strengths(
    strengths: Mapping[str, np.ndarray],
    heads: Sequence[int] | None = None,
    outlines: Mapping[str, Sequence[Range]] | None = None,
    shared_scale: bool = False,
    label: str = LABEL,
    highest: float | None = None,
) -> Figure:
    """Heatmaps side by side, one per run, on colour scales that start at zero.

    Args:
        strengths: (L, columns) by title; a cell is empty where the value is NaN.
        heads: heads of each block, if the columns are heads.
        outlines: (first, last) block per level by title, drawn as frames.
        shared_scale: one colour scale for all; by default each run has its own.
        label: beside the colour bar.
        highest: end of the scales; by default the highest value.
    """
    if shared_scale:
        highest = highest or _highest(strengths.values())
    widths = [0.75 + 0.42 * s.shape[1] * (0.5 if heads else 1.0) for s in strengths.values()]
    levels = max(s.shape[0] for s in strengths.values())
    figure = Figure(figsize=(sum(widths) + 1.0, 1.35 + 0.42 * levels), layout="constrained")
    row = figure.subplots(1, len(strengths), squeeze=False, width_ratios=widths)[0]
    for axes, (title, strength) in zip(row, strengths.items()):
        ends = np.cumsum([0, *(heads or [1] * strength.shape[1])])  # of the blocks, in columns
        image = _draw(axes, strength, ends, bool(heads), highest or _highest([strength]))
        axes.set(
            xlabel="heads of student block" if heads else "student block",
            ylabel="teacher level" if axes is row[0] else "",
            title=as_text(title),
        )
        for level, (first, last) in enumerate((outlines or {}).get(title, ())):
            corner, width = (ends[first - 1] - 0.44, level - 0.44), ends[last] - ends[first - 1]
            frame = Rectangle(corner, width - 0.12, 0.88, fill=False, edgecolor="#d55e00", lw=2)
            axes.add_patch(frame)
        if not shared_scale:
            bar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
            bar.set_label(label if axes is row[-1] else "")
    if shared_scale:
        figure.colorbar(image, ax=list(row), label=label, shrink=0.85, pad=0.02)
    return figure


def _draw(
    axes: Axes, strength: np.ndarray, ends: np.ndarray, by_head: bool, highest: float
) -> AxesImage:
    """Draw one heatmap, its colours from 0 to `highest`."""
    levels, columns = strength.shape
    image = axes.imshow(
        np.ma.masked_invalid(strength),
        origin="lower",
        cmap=COLOURS,
        aspect="auto" if by_head else "equal",
        vmin=0.0,
        vmax=highest,
    )
    axes.set_facecolor("#f2f2f2")
    axes.set_yticks(range(levels), range(1, levels + 1))
    axes.set_xticks((ends[:-1] + ends[1:] - 1) / 2, range(1, len(ends)))
    if by_head:
        for end in ends[1:-1]:
            axes.axvline(end - 0.5, color="white", linewidth=1.5)
    elif columns <= 12:
        for (level, column), value in np.ndenumerate(strength):
            if not np.isnan(value):
                text = f"{value:.2f}".lstrip("0") if value < 1 else f"{value:.1f}"
                style = dict(color="white" if image.norm(value) < 0.5 else "black", fontsize=8)
                axes.text(column, level, text, ha="center", va="center", **style)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def strip(by_epoch: Mapping[int, np.ndarray], most: int = 6, label: str = LABEL) -> Figure:
    """Heatmaps of at most `most` epochs, evenly spaced from first to last, on one colour scale."""
    epochs = sorted(by_epoch)
    chosen = sorted({epochs[i] for i in np.linspace(0, len(epochs) - 1, most).round().astype(int)})
    shown = {f"epoch {epoch}": by_epoch[epoch] for epoch in chosen}
    return plot_link_strengths(shown, shared_scale=True, label=label)


def animate(
    by_epoch: Mapping[int, np.ndarray],
    out: str | os.PathLike[str],
    per_second: float = 4.0,
    label: str = LABEL,
) -> None:
    """Write a GIF with one frame per epoch, on one colour scale; the last stays for 2 seconds."""
    from PIL import Image

    highest = _highest(by_epoch.values())
    frames = []
    for epoch, strength in sorted(by_epoch.items()):
        shown = {f"epoch {epoch}": strength}
        figure = plot_link_strengths(shown, shared_scale=True, label=label, highest=highest)
        frames.append(Image.fromarray(pixels(figure, dpi=100)))
    durations = [round(1000 / per_second)] * (len(frames) - 1) + [2000]
    with written_whole(Path(out)) as part:
        frames[0].save(part, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def pixels(figure: Figure, dpi: int = 120) -> np.ndarray:
    """The drawn figure as (H, W, 3) uint8 RGB."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _highest(strengths: Iterable[np.ndarray]) -> float:
    # 1 for links that are all zero: a colour scale needs a width.
    return max(float(np.nanmax(each)) for each in strengths) or 1.0
