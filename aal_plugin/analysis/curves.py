"""Learning curves of several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .panels import as_text
from .runs import LINK_DISTANCE, LINK_WEIGHT, LOSS, LOSS_WITH_LINKS, TOP1, Run, mean_curve

# Okabe and Ito's palette, made for colour-blind readers; markers, for print in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
# Title and unit by the key in the log.
PANELS = {
    TOP1: ("Validation top-1", "%"),
    LOSS: ("Training loss of the labels", ""),
    LOSS_WITH_LINKS: ("Training loss, links included", ""),
    LINK_DISTANCE: ("Link distance L_att", ""),
    LINK_WEIGHT: ("Link weight λ", ""),
}


def plot_curves(
    runs: Mapping[str, list[Run]], panels: Mapping[str, tuple[str, str]] = PANELS
) -> Figure:
    """One panel per number that any run logged.

    Args:
        runs: by the recipe's name, one run per seed. Several runs are drawn as their mean, in a
            band from the lowest to the highest.
        panels: a panel's title and unit by the key in the log.
    """
    every = [run for same in runs.values() for run in same]
    shown = [key for key in panels if any(key in run.curves for run in every)]
    figure = Figure(figsize=(3.4 * len(shown), 3.0), layout="constrained")
    row = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, key in zip(row, shown):
        for index, (name, same) in enumerate(runs.items()):
            curves = [run.curves[key] for run in same if key in run.curves]
            if not curves:
                continue
            epochs, mean, low, high = mean_curve(curves)
            style = dict(color=COLOURS[index % len(COLOURS)], marker=MARKERS[index % len(MARKERS)])
            label = as_text(name) + (f" ({len(curves)} runs)" if len(curves) > 1 else "")
            axes.plot(epochs, mean, **style, markersize=3.5, label=label)
            if len(curves) > 1:
                axes.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)
        title, unit = panels[key]
        axes.set(xlabel=every[0].unit, title=f"{title} ({unit})" if unit else title)
        axes.title.set_size(10)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    row[0].legend(frameon=False)
    return figure
