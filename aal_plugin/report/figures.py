"""Charts of the page: a Plotly figure for each logged number, and the links of every run."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from aal_plugin.analysis.curves import PANELS
from aal_plugin.analysis.runs import LOSS, TEACHER_TOP1, TOP1, mean_curve

from .runs import Groups

# Beside the colours, which the page's script sets: for eyes and prints that have none.
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

    @property
    def words(self) -> str:
        """Where every line begins and ends."""
        ends = (f"{name} from {r[1][0]:.4g} to {r[1][-1]:.4g}" for name, r in self.rows.items())
        return f"{self.title} over the epochs: {'; '.join(ends)}"


def curve_panels(groups: Groups) -> list[Panel]:
    """A panel for each number that any run logged.

    Several runs of a group are drawn as their mean, in a band from the lowest to the highest, over
    the epochs that all of them have.
    """
    over = " / ".join(sorted({run.unit for runs in groups.values() for run in runs}))
    panels = []
    for key, (title, unit) in PANELS.items():
        rows = _means(groups, key)
        if not rows:
            continue
        figure = go.Figure()
        teachers = _means(groups, TEACHER_TOP1) if key == TOP1 else {}
        for index, name in enumerate(groups):
            if name in rows:
                _add_group(figure, index, name, rows[name], unit)
            if name in teachers:
                _add_line(figure, index, name, teachers[name], "teacher", unit)
        figure.update_layout(
            meta=dict(key=key),
            xaxis=dict(title=over, rangemode="tozero"),
            yaxis=dict(rangemode="tozero" if key != LOSS else "normal", ticksuffix=unit),
            showlegend=False,
            hovermode="x unified",
        )
        panels.append(Panel(key, title, unit, over, figure, rows))
    return panels


def link_charts(groups: Groups) -> list[dict[str, Any]]:
    """Of every run that recorded links: its name, the epochs, and (levels, blocks) for each.

    A run has one colour scale for all its epochs, so that growing links look stronger.
    """
    charts = []
    for name, runs in groups.items():
        seeds = {run.seed for run in runs} - {None}
        for number, run in enumerate(runs, start=1):
            by_epoch = run.links.by_epoch
            if not by_epoch:
                continue
            which = f"seed {run.seed}" if len(seeds) == len(runs) else f"run {number}"
            epochs = sorted(by_epoch)
            values = np.stack([by_epoch[epoch] for epoch in epochs])
            charts.append(
                dict(
                    name=name if len(runs) == 1 else f"{name}, {which}",
                    label=run.links.label,
                    epochs=epochs,
                    z=[
                        [[None if v != v else v for v in row] for row in one]
                        for one in values.tolist()
                    ],
                    range=[float(np.nanmin(values)), float(np.nanmax(values))],
                )
            )
    return charts


def _means(groups: Groups, key: str) -> dict[str, tuple]:
    rows = {}
    for name, runs in groups.items():
        curves = [run.curves[key] for run in runs if key in run.curves]
        if curves and len((mean := mean_curve(curves))[0]):
            rows[name] = (*mean, len(curves))
    return rows


def _add_group(figure: go.Figure, index: int, name: str, row: tuple, unit: str) -> None:
    epochs, _, low, high, count = row
    if count > 1:
        edge = dict(x=epochs.tolist(), mode="lines", line=dict(width=0), hoverinfo="skip")
        for role, values, fill in (("low", low, None), ("high", high, "tonexty")):
            figure.add_scatter(
                **edge,
                y=values.tolist(),
                fill=fill,
                legendgroup=name,
                meta=dict(group=index, role=role),
            )
    line = _add_line(figure, index, name, row, "mean", unit)
    if count > 1:
        line.hovertemplate += " (%{customdata[0]:.4~g} to %{customdata[1]:.4~g})"
        line.customdata = list(zip(low.tolist(), high.tolist()))
    line.mode = "lines+markers" if len(epochs) <= 60 else "lines"
    line.line = dict(width=2.5, dash=DASHES[index % len(DASHES)])
    line.marker = dict(size=7, symbol=MARKERS[index % len(MARKERS)])
    line.meta["runs"] = count


def _add_line(
    figure: go.Figure, index: int, name: str, row: tuple, role: str, unit: str
) -> go.Scatter:
    figure.add_scatter(
        x=row[0].tolist(),
        y=row[1].tolist(),
        legendgroup=name,
        name=html.escape(f"teacher of {name}" if role == "teacher" else name),  # read as HTML
        mode="lines",
        line=dict(width=1.5, dash="dot"),
        hovertemplate="%{y:.4~g}" + unit,
        meta=dict(group=index, role=role),
    )
    return figure.data[-1]
