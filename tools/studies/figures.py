"""The figure of a study: test top-1 over the values of a setting, or the runs' curves."""

from __future__ import annotations

import statistics

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aal_plugin.analysis.curves import COLOURS, MARKERS
from aal_plugin.analysis.runs import mean_curve

from .choosing import runs_of
from .comparison import measures
from .records import TOP1, Records
from .study import Point, Study
from .tables import shown_points

DISTANCE = "link_distance"


def figure(study: Study, records: Records) -> Figure | None:
    """Lines over the values of `columns`, or dots; else the arms' curves. None without runs.

    The curves are the validation top-1, and link_distance if several arms have it.
    """
    points = shown_points(study, records)
    if not points:
        return None
    if study.chart:
        return _dots(study, records, points)
    panels = {TOP1: "validation top-1 (%)"}
    linked = {run.arm for run in records if DISTANCE in run.curves}
    if not study.columns and len(linked & set(study.curves or study.arms)) > 1:
        panels[DISTANCE] = "link_distance"
    drawn = Figure(figsize=(6.0 if len(panels) == 1 else 9.0, 3.4), layout="constrained")
    row = drawn.subplots(1, len(panels), squeeze=False)[0]
    for axes, (key, title) in zip(row, panels.items()):
        if study.columns:
            _over_values(axes, study, records, points)
        else:
            _over_epochs(axes, study, records, points, key)
            axes.set(xlabel="epoch", ylabel=title)
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
    row[0].legend(frameon=False, fontsize=8)
    return drawn


def _dots(study: Study, records: Records, points: list[Point]) -> Figure:
    """A row for every arm: a dot for every seed, and the mean of the first metric."""
    metric, title = next(iter(study.metrics.items()))
    drawn = Figure(figsize=(7.5, 0.7 + 0.34 * len(points)), layout="constrained")
    axes = drawn.subplots()
    for place, point in enumerate(points):
        tests = measures(runs_of(point, records), metric)
        colour = COLOURS[1] if study.arms[point.arm].probe else COLOURS[0]
        axes.plot(tests, [place] * len(tests), "o", color=colour, alpha=0.5, markersize=5)
        axes.plot(statistics.mean(tests), place, "|", color=colour, markersize=16, mew=2.5)
        axes.annotate(
            f"{statistics.mean(tests):.1f}",
            (max(tests), place),
            (8, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(points)), [str(point.without(study.choose)) for point in points])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel=f"{title}, test images (%)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _over_values(axes: Axes, study: Study, records: Records, points: list[Point]) -> None:
    """Mean and standard deviation of the first metric; values stand at equal distances."""
    metric, title = next(iter(study.metrics.items()))
    across = list(study.settings[study.columns])
    lines: dict[Point, list[tuple[int, list[float]]]] = {}
    for point in points:
        place = across.index(dict(point.values)[study.columns])
        tests = measures(runs_of(point, records), metric)
        lines.setdefault(point.without((study.columns, *study.choose)), []).append((place, tests))
    for index, (line, cells) in enumerate(lines.items()):
        axes.errorbar(
            [place for place, _ in cells],
            [statistics.mean(tests) for _, tests in cells],
            [statistics.stdev(tests) if len(tests) > 1 else 0 for _, tests in cells],
            **_look(index),
            capsize=3,
            label=str(line),
        )
    axes.set_xticks(range(len(across)), across)
    axes.set(xlabel=study.columns, ylabel=f"{title}, test images (%)")


def _over_epochs(axes: Axes, study: Study, records: Records, points: list[Point], key: str) -> None:
    """A curve of the log: the mean over the seeds, in a band from the lowest to the highest."""
    shown = [point for point in points if not study.curves or point.arm in study.curves]
    for index, point in enumerate(shown):
        curves = [
            (np.array(run.curves[key][0]), np.array(run.curves[key][1]))
            for run in runs_of(point, records)
            if key in run.curves
        ]
        if not curves:
            continue
        epochs, mean, low, high = mean_curve(curves)
        look = _look(index) if len(epochs) < 15 else {**_look(index), "marker": ""}
        axes.plot(epochs, mean, **look, markersize=3.5, label=str(point))
        axes.fill_between(epochs, low, high, color=look["color"], alpha=0.2, linewidth=0)


def _look(index: int) -> dict[str, str]:
    """Colour, marker and line of a series; once the colours have been used, the line changes."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": ("-", "--", ":")[index // len(COLOURS) % 3],
    }
