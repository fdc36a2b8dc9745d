"""Parts of figures that show an image: attention over it, and boxes in it.

# h w patch grid, H W image
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

COLOURS = "viridis"
# Lines of the true box, and of the box that is cut from the attention.
TRUE: dict[str, Any] = dict(edgecolor="#d55e00", linewidth=1.5, label="true box")
FOUND: dict[str, Any] = dict(
    edgecolor="white", linewidth=1.5, linestyle="--", label="box cut from the attention"
)


def overlay(axes: Axes, image: np.ndarray, attention: np.ndarray) -> None:
    """Draw an attention map (h, w) over an image (H, W, 3) in grey; colours start at 0."""
    grey = image.mean(axis=-1)
    height, width = grey.shape
    extent: tuple[float, ...] = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
    axes.imshow(attention, cmap=COLOURS, vmin=0, alpha=0.6, interpolation="bilinear", extent=extent)


def outline(axes: Axes, box: Sequence[float] | np.ndarray | None, **style: Any) -> None:
    """Draw a box x1, y1, x2, y2; None draws nothing."""
    if box is not None:
        x1, y1, x2, y2 = box
        frame = Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False)
        frame.set(**{**TRUE, **style})
        axes.add_patch(frame)


def as_text(name: str) -> str:
    """A name as Matplotlib shows it: no formula between dollars, nor hidden by an underscore."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def bare(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
