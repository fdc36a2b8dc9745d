"""How AAL's cost grows with batch, resolution, link count and teacher."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tqdm import tqdm

from .setting import Setting
from .timed_steps import TimedSteps
from .timing import interleave

SHARES = (0.25, 0.5, 0.75, 1.0)
# For each axis, the curve that should be a straight line.
LINES = {"batch": "aal", "links": "links"}
WARMUP = 2
LINK_ROUNDS = 10  # per round of whole steps, which take a hundred times as long


def scaling(
    setting: Setting,
    rounds: int,
    clock: Callable[[], float],
    teachers: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Seconds of the student's step, the teacher, AAL's step and the links alone on four axes.

    The axis 'links' is the number of link weights: every level gets the first 1/4, 2/4 … of the
    blocks.
    """
    batches = sorted({max(1, round(share * setting.batch)) for share in SHARES})
    # Rounded to 32 pixels: for patches of 16 and a CNN's five halvings.
    sizes = sorted({max(32, round(share * setting.size / 32) * 32) for share in SHARES})
    axes: dict[str, list[tuple[Any, Setting]]] = {
        "batch": [(batch, replace(setting, batch=batch)) for batch in batches],
        "resolution": [(size, replace(setting, size=size)) for size in sizes],
        "teacher": [(name, replace(setting, teacher=name)) for name in teachers],
        "links": _link_counts(setting),
    }
    found: dict[str, dict[str, Any]] = {}
    timings = 3 * (WARMUP + rounds) + WARMUP + LINK_ROUNDS * rounds  # of a point
    with tqdm(total=sum(map(len, axes.values())) * timings, leave=False) as bar:
        for axis, points in axes.items():
            bar.set_description(axis)
            measured = _measure([point for _, point in points], rounds, clock, bar.update)
            found[axis] = dict(
                points=[dict(value=value, **row) for (value, _), row in zip(points, measured)]
            )
    for axis, curve in LINES.items():
        points = found[axis]["points"]
        values = [point["value"] for point in points]
        r = statistics.correlation(values, [point[curve] for point in points])
        found[axis].update(line=curve, r_squared=r**2)
    return found


def _link_counts(setting: Setting) -> list[tuple[int, Setting]]:
    made = TimedSteps(setting)
    blocks, levels = len(made.recorder.heads), len(made.best_teacher.channels)
    points = []
    for share in SHARES:
        point = replace(setting, links=[(1, max(1, round(share * blocks)))] * levels)
        links = TimedSteps(point).links.state_dict()
        weights = sum(tensor.numel() for name, tensor in links.items() if name.endswith("weight"))
        points.append((weights, point))
    return points


def _measure(
    points: Sequence[Setting],
    rounds: int,
    clock: Callable[[], float],
    advance: Callable[[], object],
) -> list[dict[str, float]]:
    """The minimum of every point: it excludes the time that other work on the machine adds.

    The points take turns, so that a slow period of the machine affects all of them.
    """
    made = [TimedSteps(point) for point in points]
    measure = partial(
        interleave, warmup=WARMUP, device=points[0].device, clock=clock, advance=advance
    )
    whole = {
        (index, name): make()
        for index, steps in enumerate(made)
        for name, make in dict(student=steps.plain, teacher=steps.teacher, aal=steps.aal).items()
    }
    links = {(index, "links"): steps.links_alone() for index, steps in enumerate(made)}
    timings = {**measure(whole, rounds), **measure(links, LINK_ROUNDS * rounds)}
    rows: list[dict[str, float]] = [{} for _ in points]
    for (index, name), timing in timings.items():
        rows[index][name] = min(timing.seconds)
    return rows


def draw_scaling(found: dict[str, dict[str, Any]]) -> Any:
    """A matplotlib figure: a column per axis, the steps above, links and distance alone below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout="constrained")
    panels = figure.subplots(2, len(found), sharex="col", squeeze=False)
    labels = dict(batch="batch", resolution="side of the images, px", links="link weights")
    styles = (dict(student="s:", teacher="^:", aal="o-"), dict(links="o-r"))
    for column, (axis, result) in enumerate(found.items()):
        values = [point["value"] for point in result["points"]]
        for row, panel in enumerate(panels[:, column]):
            for curve, style in styles[row].items():
                panel.plot(values, [1e3 * p[curve] for p in result["points"]], style, label=curve)
            panel.set_ylim(bottom=0)
            panel.grid(alpha=0.3)
        if axis == "teacher":
            panels[1][column].tick_params(axis="x", labelrotation=20)
        panels[0][column].set_title(axis)
        panels[1][column].set_xlabel(labels.get(axis, ""))
    panels[0][0].set_ylabel("step, ms")
    panels[1][0].set_ylabel("links and distance alone, ms")
    panels[0][0].legend()
    return figure
