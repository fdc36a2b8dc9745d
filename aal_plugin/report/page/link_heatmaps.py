"""The links' heatmap as a Plotly figure with a frame for each epoch of each run."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from aal_plugin.report.runs.reading import Groups

COLOURS = "Cividis"  # safe for colour-blind eyes, and dark to light in print


def linked_runs(groups: Groups) -> dict[str, dict[int, np.ndarray]]:
    """Strengths (levels, blocks) by epoch, by the run's name, of all runs that recorded links."""
    return {
        _run_name(name, number, len(runs), run.seed): run.links
        for name, runs in groups.items()
        for number, run in enumerate(runs, start=1)
        if run.links
    }


def link_figure(linked: dict[str, dict[int, np.ndarray]]) -> go.Figure:
    """Student blocks along x, teacher levels up y; the page's slider chooses the frame.

    The figure shows the last epoch of the first run. A run has one colour scale for all its epochs,
    so that growing links look stronger. `layout.meta` lists the epochs of each run.
    """
    frames = [
        go.Frame(name=f"{name} · {epoch}", data=[_heatmap(links[epoch], _limits(links))])
        for name, links in linked.items()
        for epoch in sorted(links)
    ]
    first = next(iter(linked.values()))
    figure = go.Figure(data=[_heatmap(first[max(first)], _limits(first))], frames=frames)
    figure.update_layout(
        meta=dict(runs={name: sorted(links) for name, links in linked.items()}),
        xaxis=dict(title="student block", type="category", showgrid=False),
        yaxis=dict(title="teacher level", type="category", showgrid=False),
    )
    return figure


def _heatmap(strength: np.ndarray, limits: tuple[float, float]) -> go.Heatmap:
    levels, blocks = strength.shape
    shown = [[None if np.isnan(v) else float(v) for v in row] for row in strength]
    return go.Heatmap(
        z=shown,
        x=[str(block) for block in range(1, blocks + 1)],
        y=[str(level) for level in range(1, levels + 1)],
        zmin=limits[0],
        zmax=limits[1],
        colorscale=COLOURS,
        xgap=2,
        ygap=2,
        colorbar=dict(title=dict(text="mean |weight|", side="right"), thickness=12),
        hovertemplate="level %{y}, block %{x}: %{z:.4f}<extra></extra>",
    )


def _limits(links: dict[int, np.ndarray]) -> tuple[float, float]:
    values = np.stack(list(links.values()))
    return float(np.nanmin(values)), float(np.nanmax(values))


def _run_name(group: str, number: int, count: int, seed: int | None) -> str:
    if count == 1:
        return group
    return f"{group}, run {number}" if seed is None else f"{group}, seed {seed}"
