"""The table and the sentence of a study, from its stored runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .choosing import chosen_points, runs_of
from .comparison import mean_and_spread, measures, paired_difference
from .records import EPOCHS_TO, Record, Records
from .study import Point, Study

_FIGURE = re.compile(r"\{([^{}]+)\}")


def table(study: Study, records: Records) -> list[str]:
    """Markdown: a row per arm and setting, a column per metric or per value of `columns`.

    With a baseline, a column beside the first metric holds the paired difference from it.
    """
    points = shown_points(study, records)
    across = list(study.settings[study.columns]) if study.columns else [""]
    open_ = (*study.choose, study.columns)
    rows: dict[Point, dict[str, Point]] = {}
    for point in points:
        rows.setdefault(point.without(open_), {})[dict(point.values).get(study.columns, "")] = point

    heads = ["", *([_chosen_head(study)] if study.choose else [])]
    for value in across:
        for number, name in enumerate(study.metrics.values()):
            words = [f"{study.columns} {value}"] if study.columns else []
            words += [name] if len(study.metrics) > 1 or not study.columns else []
            compared = study.baseline and number == 0
            heads += [", ".join(words), *([f"minus {study.baseline}"] if compared else [])]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for row, by_value in rows.items():
        cells = [str(row), *([_chosen(study, by_value)] if study.choose else [])]
        for value in across:
            runs = runs_of(by_value[value], records) if value in by_value else []
            for number, key in enumerate(study.metrics):
                cells.append(_cell(study, runs, key))
                if study.baseline and number == 0:
                    other = rows.get(Point(study.baseline, row.values), {}).get(value)
                    other = None if row.arm == study.baseline else other
                    cells.append(_difference(runs, runs_of(other, records) if other else [], key))
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
            return mean_and_spread(measures(runs(first), metric))
        found = paired_difference(runs(first), runs(second), metric)
        if found is None:
            raise ValueError(f"answer: {match.group(0)}: the two have no seed in common")
        return str(found)

    return _FIGURE.sub(figure, study.answer)


def _cell(study: Study, runs: list[Record], key: str) -> str:
    values = measures(runs, key)
    if not values:
        return "never" if runs and key.startswith(EPOCHS_TO) else ""
    fewer = f" ({len(values)})" if len(values) != len(study.seeds) else ""
    return mean_and_spread(values) + fewer


def _difference(runs: list[Record], others: list[Record], key: str) -> str:
    """The paired difference from the baseline: each at its own best, all else the same."""
    found = paired_difference(runs, others, key)
    return str(found) if found else ""


def _chosen_head(study: Study) -> str:
    return f"chosen {study.choose[0]}" if len(study.choose) == 1 else "chosen"


def _chosen(study: Study, by_value: dict[str, Point]) -> str:
    """The chosen settings of a row; one for each column where they differ."""
    one = len(study.choose) == 1  # its name stands in the head
    words = {
        value: ", ".join(
            chosen if one else f"{key} {chosen}"
            for key, chosen in point.values
            if key in study.choose
        )
        for value, point in by_value.items()
    }
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{value}: {chosen}" for value, chosen in words.items())


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def processors(records: Records) -> Iterator[str]:
    """The processors of the runs, each once."""
    return iter(dict.fromkeys(run.processor for run in records))


def trainings(records: Records) -> int:
    """How often the runs' teachers were trained anew: the most sums of one checkpoint's weights."""
    sums: dict[str, set[str]] = {}
    for run in records:
        for path, weights in run.weights.items():
            sums.setdefault(path, set()).add(weights)
    return max(map(len, sums.values()), default=0)
