"""The table and the sentence of a study, from its stored runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .comparison import mean_and_spread, paired_difference
from .records import Record, Records
from .running import chosen_points, runs_of
from .study import Point, Study

_FIGURE = re.compile(r"\{([^{}]+)\}")


def table(study: Study, records: Records) -> list[str]:
    """Markdown: a row per arm and setting, a column per metric or per value of `columns`.

    With a baseline, a further column per column holds the paired difference from it.
    """
    points = shown_points(study, records)
    across = list(study.settings.get(study.columns, {})) if study.columns else [""]
    metric_keys = list(study.metrics)
    down = list(dict.fromkeys(point.without((study.columns,)) for point in points))
    by_place = {
        (point.without((study.columns,)), dict(point.values).get(study.columns, "")): point
        for point in points
    }

    heads = ["", *(["chosen"] if study.choose else [])]
    for value in across:
        for key in metric_keys:
            name = study.metrics[key]
            shown = name if not study.columns else f"{study.columns} {value}"
            if study.columns and len(metric_keys) > 1:
                shown += f", {name}"
            heads.append(shown)
            if study.baseline:
                heads.append(f"minus {study.baseline}")
    lines = [_row(heads), _row(["---"] * len(heads))]
    for row in down:
        name = str(row.without(study.choose))
        cells = [name]
        if study.choose:
            cells.append(
                ", ".join(f"{key} {value}" for key, value in row.values if key in study.choose)
            )
        for value in across:
            point = by_place.get((row, value))
            runs = runs_of(point, records) if point else []
            for key in metric_keys:
                cells.append(_cell(study, runs, key))
                if study.baseline:
                    cells.append(_minus_baseline(study, records, points, point, runs, key))
        lines.append(_row(cells))
    return lines


def shown_points(study: Study, records: Records) -> list[Point]:
    """The points whose runs the study reports: the chosen ones, or all."""
    points = chosen_points(study, records) if study.choose else list(study.points())
    return [point for point in points if runs_of(point, records)]


def answer(study: Study, records: Records) -> str:
    """The study's sentence, with its figures filled in.

    {AAL} is the mean and spread of an arm's test top-1, {AAL - plain} a paired difference with its
    95% interval. An arm with settings is written {AAL, lr 0.001}.

    Raises:
        ValueError: a name is no arm of the study, or has no stored runs.
    """
    points = {}
    for point in shown_points(study, records):
        points[str(point)] = point
        points.setdefault(str(point.without(study.choose)), point)
    metric = next(iter(study.metrics))

    def runs(name: str) -> list[Record]:
        if name.strip() not in points:
            raise ValueError(f"answer: {name.strip()!r} has no runs; choose from {list(points)}")
        return runs_of(points[name.strip()], records)

    def figure(match: re.Match) -> str:
        first, minus, second = match.group(1).partition(" - ")
        if not minus:
            return mean_and_spread([run.test[metric] for run in runs(first)])
        found = paired_difference(runs(first), runs(second), metric)
        if found is None:
            raise ValueError(f"answer: {match.group(0)}: the two have no seed in common")
        return str(found)

    return _FIGURE.sub(figure, study.answer)


def _cell(study: Study, runs: list[Record], key: str) -> str:
    values = [run.test[key] for run in runs if key in run.test]
    if not values:
        return ""
    fewer = f" ({len(values)})" if len(values) != len(study.seeds) else ""
    return mean_and_spread(values) + fewer


def _minus_baseline(
    study: Study,
    records: Records,
    points: list[Point],
    point: Point | None,
    runs: list[Record],
    key: str,
) -> str:
    """The paired difference from the baseline: each at its own best, all else the same."""
    if point is None or point.arm == study.baseline:
        return ""
    same = [
        other
        for other in points
        if other.arm == study.baseline
        and other.without(study.choose).values == point.without(study.choose).values
    ]
    found = paired_difference(runs, runs_of(same[0], records), key) if same else None
    return str(found) if found else ""


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def processors(records: Records) -> Iterator[str]:
    """The processors of the runs, each once."""
    return iter(dict.fromkeys(run.processor for run in records))
