"""How AAL's cost grows with batch, resolution, link count and teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tqdm import tqdm

from .setting import Setting
from .steps import Steps
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
    axes: dict[str, list[tuple[Any, Setting]]] = {
        "batch": _batches(setting),
        "resolution": [(size, replace(setting, size=size)) for size in _sizes(setting.size)],
        "teacher": [(name, replace(setting, teacher=name)) for name in teachers],
        "links": _link_counts(setting),
    }
    found: dict[str, dict[str, Any]] = {}
    with tqdm(total=sum(map(len, axes.values())) * _timings(rounds), leave=False) as bar:
        for axis, points in axes.items():
            bar.set_description(axis)
            measured = _measure([point for _, point in points], rounds, clock, bar.update)
            found[axis] = dict(
                points=[dict(value=value, **row) for (value, _), row in zip(points, measured)]
            )
    for axis, curve in LINES.items():
        points = found[axis]["points"]
        values = [point["value"] for point in points]
        found[axis].update(line=curve, r_squared=r_squared(values, [p[curve] for p in points]))
    return found


def _batches(setting: Setting) -> list[tuple[int, Setting]]:
    sizes = sorted({max(1, round(share * setting.batch)) for share in SHARES})
    return [(size, replace(setting, batch=size)) for size in sizes]


def _sizes(size: int) -> list[int]:
    """Shares of the side, rounded to 32 pixels: for patches of 16 and a CNN's five halvings."""
    return sorted({max(32, round(share * size / 32) * 32) for share in SHARES})


def _link_counts(setting: Setting) -> list[tuple[int, Setting]]:
    made = Steps(setting)
    blocks, levels = len(made.recorder.heads), len(made.best_teacher.channels)
    points = []
    for share in SHARES:
        point = replace(setting, links=[(1, max(1, round(share * blocks)))] * levels)
        links = Steps(point).links.state_dict()
        weights = sum(tensor.numel() for name, tensor in links.items() if name.endswith("weight"))
        points.append((weights, point))
    return points


def _timings(rounds: int) -> int:
    """Number of timings per point, including warm-up."""
    return 3 * (WARMUP + rounds) + WARMUP + LINK_ROUNDS * rounds


def _measure(
    points: Sequence[Setting],
    rounds: int,
    clock: Callable[[], float],
    advance: Callable[[], object],
) -> list[dict[str, float]]:
    """The minimum of every point: it excludes the time that other work on the machine adds.

    The points take turns, so that a slow period of the machine affects all of them.
    """
    made = [Steps(point) for point in points]
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
        rows[index][name] = timing.minimum
    return rows


def r_squared(x: Sequence[float], y: Sequence[float]) -> float:
    """R² of the straight line through the points: 1 if all lie on it.

    Example:
        >>> r_squared([1, 2, 3], [2.0, 4.0, 6.0])
        1.0
    """
    count = len(x)
    mean_x, mean_y = sum(x) / count, sum(y) / count
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y))
    variance = sum((a - mean_x) ** 2 for a in x)
    total = sum((b - mean_y) ** 2 for b in y)
    return covariance**2 / (variance * total) if total else 1.0


def draw_scaling(found: dict[str, dict[str, Any]]) -> Any:
    """A matplotlib figure: one panel per axis; links and distance have panels of their own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout="constrained")
    panels = figure.subplots(2, len(found), squeeze=False)
    labels = dict(
        batch="batch",
        resolution="side of the images, px",
        links="link weights",
        teacher="",
    )
    for column, (axis, result) in enumerate(found.items()):
        points = result["points"]
        values = [point["value"] for point in points]
        upper, lower = panels[0][column], panels[1][column]
        for curve, style in (("student", "s:"), ("teacher", "^:"), ("aal", "o-")):
            upper.plot(values, [1e3 * point[curve] for point in points], style, label=curve)
        lower.plot(values, [1e3 * point["links"] for point in points], "o-", color="tab:red")
        for panel in (upper, lower):
            panel.set_ylim(bottom=0)
            panel.grid(alpha=0.3)
        lower.set_xlabel(labels[axis])
        for panel in (upper, lower):
            if isinstance(values[0], int):
                panel.locator_params(axis="x", nbins=4)
            else:
                panel.tick_params(axis="x", labelrotation=20)
        upper.set_title(axis)
    panels[0][0].set_ylabel("step, ms")
    panels[1][0].set_ylabel("links and distance alone, ms")
    panels[0][0].legend()
    return figure
