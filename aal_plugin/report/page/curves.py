"""Learning curves as Plotly figures: a figure for each number, a line for each group."""

from __future__ import annotations

from typing import NamedTuple

import plotly.graph_objects as go

from aal_plugin.analysis.curves import COLOURS
from aal_plugin.analysis.runs import Curve, mean_curve
from aal_plugin.report.runs.reading import Groups
from aal_plugin.report.runs.recorded_run import (
    LINK_DISTANCE,
    LINK_WEIGHT,
    LOSS,
    LOSS_WITH_LINKS,
    TEACHER_TOP1,
    TOP1,
)

# Title and unit by key, in the order of the page.
PANELS = {
    TOP1: ("Validation top-1", "%"),
    LOSS: ("Training loss of the labels", ""),
    LOSS_WITH_LINKS: ("Training loss, links included", ""),
    LINK_DISTANCE: ("Link distance L_att", ""),
    LINK_WEIGHT: ("Link weight λ", ""),
}
# Beside colours, for eyes and prints that have none.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")


class Panel(NamedTuple):
    """One figure, with what a reader of text gets in its place."""

    key: str
    title: str
    unit: str
    over: str  # 'epoch' or 'iteration', or both
    figure: go.Figure
    rows: dict[str, tuple]  # by group: epochs, mean, low, high and the number of runs


def curve_panels(groups: Groups) -> list[Panel]:
    """A panel for each number that any run logged.

    Several runs of a group are drawn as their mean, in a band from the lowest to the highest, over
    the epochs that all of them have.
    """
    over = " / ".join(sorted({run.unit for runs in groups.values() for run in runs}))
    panels = []
    for key, (title, unit) in PANELS.items():
        rows = {}
        for name, runs in groups.items():
            curves = [run.curves[key] for run in runs if key in run.curves]
            if curves and len(shared := mean_curve(curves)[0]):
                rows[name] = (shared, *mean_curve(curves)[1:], len(curves))
        if rows:
            figure = _figure(groups, key, rows, unit, over)
            panels.append(Panel(key, title, unit, over, figure, rows))
    return panels


def _figure(groups: Groups, key: str, rows: dict[str, tuple], unit: str, over: str) -> go.Figure:
    figure = go.Figure()
    for index, name in enumerate(groups):
        if name in rows:
            _add_group(figure, index, name, rows[name], unit)
        teachers = [run.curves[TEACHER_TOP1] for run in groups[name] if TEACHER_TOP1 in run.curves]
        if key == TOP1 and teachers:
            _add_teacher(figure, index, name, teachers)
    figure.update_layout(
        meta=dict(key=key),
        xaxis=dict(title=over, rangemode="tozero"),
        yaxis=dict(rangemode="tozero" if key != LOSS else "normal", ticksuffix=unit),
        showlegend=False,
        hovermode="x unified",
    )
    return figure


def _add_group(figure: go.Figure, index: int, name: str, row: tuple, unit: str) -> None:
    epochs, mean, low, high = (values.tolist() for values in row[:4])
    count = row[4]
    colour = COLOURS[index % len(COLOURS)]
    shared = dict(x=epochs, legendgroup=name, name=name)
    if count > 1:
        edge = dict(shared, mode="lines", line=dict(width=0, color=colour), hoverinfo="skip")
        figure.add_scatter(**edge, y=low, meta=dict(group=index, role="low"))
        figure.add_scatter(
            **edge, y=high, fill="tonexty", opacity=0.3, meta=dict(group=index, role="high")
        )
    spread = " (%{customdata[0]:.4~g} to %{customdata[1]:.4~g})" if count > 1 else ""
    figure.add_scatter(
        **shared,
        y=mean,
        mode="lines+markers" if len(epochs) <= 60 else "lines",
        line=dict(width=2.5, color=colour, dash=DASHES[index % len(DASHES)]),
        marker=dict(size=7, symbol=MARKERS[index % len(MARKERS)]),
        customdata=list(zip(low, high)),
        hovertemplate="%{y:.4~g}" + unit + spread,
        meta=dict(group=index, role="mean", runs=count),
    )


def _add_teacher(figure: go.Figure, index: int, name: str, curves: list[Curve]) -> None:
    epochs, mean, _, _ = mean_curve(curves)
    figure.add_scatter(
        x=epochs.tolist(),
        y=mean.tolist(),
        legendgroup=name,
        name=f"teacher of {name}",
        mode="lines",
        line=dict(width=1.5, dash="dot", color=COLOURS[index % len(COLOURS)]),
        hovertemplate="%{y:.4~g}%",
        meta=dict(group=index, role="teacher"),
    )
