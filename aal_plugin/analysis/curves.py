"""Learning curves of several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .runs import (
    GUIDANCE_LOSS,
    GUIDANCE_WEIGHT,
    LINK_DISTANCE,
    LINK_WEIGHT,
    LOSS,
    LOSS_WITH_LINKS,
    TEACHER_TOP1,
    TOP1,
    Run,
    group_curves,
)

# Okabe and Ito's palette, made for colour-blind readers; markers, for print in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
MOST_MARKERS = 60  # of a line
# Title and unit by the key in the log.
PANELS = {
    TOP1: ("Validation top-1", "%"),
    LOSS: ("Training loss of the labels", ""),
    LOSS_WITH_LINKS: ("Training loss, links included", ""),
    LINK_DISTANCE: ("Link distance L_att", ""),
    LINK_WEIGHT: ("Link weight λ", ""),
    GUIDANCE_LOSS: ("Guidance loss, weighted", ""),
    GUIDANCE_WEIGHT: ("Guidance weight", ""),
}


def as_text(name: str) -> str:
    """A name as Matplotlib shows it: no formula between dollars, nor hidden by an underscore."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def plot_curves(
    runs: Mapping[str, Sequence[Run]], panels: Mapping[str, tuple[str, str]] = PANELS
) -> Figure:
    """One panel per number that any run logged; dotted lines are the teachers' top-1.

    Several runs of a name, such as its seeds, are drawn as their mean, in a band from the lowest to
    the highest. `panels` has a panel's title and unit by the key in the log.
    """
    drawn = {key: curves for key in panels if (curves := group_curves(runs, key))}
    figure = Figure(figsize=(3.6 * len(drawn), 3.2), layout="constrained")
    row = figure.subplots(1, len(drawn), squeeze=False)[0]
    units = dict.fromkeys(run.unit for same in runs.values() for run in same)
    for axes, (key, curves) in zip(row, drawn.items()):
        teachers = group_curves(runs, TEACHER_TOP1) if key == TOP1 else {}
        for index, (name, same) in enumerate(runs.items()):
            # The id lets a reader of the SVG show and hide what belongs to a group.
            style = dict(color=COLOURS[index % len(COLOURS)], gid=f"group-{index}")
            if name in curves:
                label = as_text(name) + (f" ({len(same)} runs)" if len(same) > 1 else "")
                marker = MARKERS[index % len(MARKERS)]
                _draw(axes, curves[name], **style, marker=marker, label=label)
            if name in teachers:
                label = as_text(f"teacher of {name}")
                _draw(axes, teachers[name], **style, linestyle=":", label=label)
        title, unit = panels[key]
        axes.set(xlabel=" / ".join(units), ylabel=f"{title} ({unit})" if unit else title)
        axes.set_xlim(left=0)
        if key not in (LOSS, LOSS_WITH_LINKS):
            axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    lines = {line.get_label(): line for axes in row for line in axes.lines}
    figure.legend(  # below the panels: inside it would cover curves
        handles=list(lines.values()), loc="outside lower center", ncols=len(drawn) + 1,
        frameon=False,
    )  # fmt: skip
    return figure


def _draw(axes: Axes, curve: Sequence[Any], **style: Any) -> None:
    epochs, mean, low, high = curve
    every = ceil(len(epochs) / MOST_MARKERS)
    axes.plot(epochs, mean, **style, markersize=3.5, markevery=every)
    if (low < high).any():
        band = dict(color=style["color"], gid=style["gid"])
        axes.fill_between(epochs, low, high, **band, alpha=0.2, linewidth=0)
