"""Learning curves of several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .runs import Curve, Run, mean_curve

# Okabe and Ito's palette, made for colour-blind readers; markers, for print in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
PANELS: dict[str, str] = {
    "accuracy/top1": "validation top-1 (%)",
    "loss": "training loss, without links",
    "link_distance": "link distance",
    "link_weight": "λ",
}


def plot_curves(runs: Mapping[str, list[Run]], panels: Mapping[str, str] = PANELS) -> Figure:
    """One panel per number that any run logged.

    Args:
        runs: by the recipe's name, one run per seed. Several runs are drawn as their mean, in a
            band from the lowest to the highest.
        panels: a panel's title by the key in the log.
    """
    every = [run for same in runs.values() for run in same]
    shown = [key for key in panels if any(key in run.curves for run in every)]
    figure = Figure(figsize=(3.4 * len(shown), 3.0), layout="constrained")
    row = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, key in zip(row, shown):
        for index, (name, same) in enumerate(runs.items()):
            curves = [run.curves[key] for run in same if key in run.curves]
            if curves:
                _draw(axes, name, curves, index)
        axes.set(xlabel=every[0].unit, title=panels[key])
        axes.title.set_size(10)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    row[0].legend(frameon=False)
    return figure


def _draw(axes: Axes, name: str, curves: list[Curve], index: int) -> None:
    epochs, mean, low, high = mean_curve(curves)
    colour = COLOURS[index % len(COLOURS)]
    label = name if len(curves) == 1 else f"{name} ({len(curves)} runs)"
    marker = MARKERS[index % len(MARKERS)]
    axes.plot(epochs, mean, color=colour, marker=marker, markersize=3.5, label=label)
    if len(curves) > 1:
        axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
