"""The table and the sentence of a study, from its stored runs."""

from __future__ import annotations

import re

from .choosing import chosen_points, runs_of
from .comparison import mean_and_spread, measures, paired_difference
from .records import EPOCHS_TO, Record, Records
from .study import Point, Study


def table(study: Study, records: Records) -> list[str]:
    """Markdown: a row per arm and setting, a column per metric or per value of `columns`.

    A cell is the mean ± the standard deviation, and the number of seeds in brackets.

    With a baseline, a column beside the first metric holds the paired differences from it, if there
    are any: each at its own best, all else the same.
    """
    rows: dict[Point, dict[str, Point]] = {}
    for point in shown_points(study, records):
        value = dict(point.values).get(study.columns, "")
        rows.setdefault(point.without((*study.choose, study.columns)), {})[value] = point

    columns = [["", *map(str, rows)]]
    if study.choose:
        head = f"chosen {study.choose[0]}" if len(study.choose) == 1 else "chosen"
        columns.append([head, *(_chosen(study, by_value) for by_value in rows.values())])
    for value in study.settings[study.columns] if study.columns else [""]:
        runs = {
            row: runs_of(by_value[value], records) if value in by_value else []
            for row, by_value in rows.items()
        }
        for number, (key, title) in enumerate(study.metrics.items()):
            words = [f"{study.columns} {value}"] if study.columns else []
            words += [title] if len(study.metrics) > 1 or not study.columns else []
            columns.append([", ".join(words), *(_cell(some, key) for some in runs.values())])
            if study.baseline and number == 0:
                differences = [
                    None
                    if row.arm == study.baseline
                    else paired_difference(
                        some, runs.get(Point(study.baseline, row.values), []), key
                    )
                    for row, some in runs.items()
                ]
                if any(differences):
                    cells = [str(found or "") for found in differences]
                    columns.append([f"minus {study.baseline}", *cells])
    lines = ["| " + " | ".join(cells) + " |" for cells in zip(*columns)]
    return [lines[0], "| " + " | ".join(["---"] * len(columns)) + " |", *lines[1:]]


def shown_points(study: Study, records: Records) -> list[Point]:
    """The points whose runs the study reports: the chosen ones, or all."""
    points = chosen_points(study, records) if study.choose else list(study.points())
    return [point for point in points if runs_of(point, records)]


def answer(study: Study, records: Records) -> str:
    """The study's sentence, with its figures filled in.

    {AAL} is the mean and spread of an arm's test top-1, {AAL - plain} a paired difference with its
    95% interval. An arm with settings is written {AAL, lr 0.001}.

    Raises:
        ValueError: a name is no arm of the study, or has no stored runs; or two arms have no paired
            difference.
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
        first, minus, second = match[1].partition(" - ")
        if not minus:
            return mean_and_spread(measures(runs(first), metric))
        found = paired_difference(runs(first), runs(second), metric)
        if found is None:
            raise ValueError(
                f"answer: {match[0]}: no seed in common, or another kind of processor or another "
                "teacher for the same seed, so no difference is paired; give both means"
            )
        return str(found)

    return re.sub(r"\{([^{}]+)\}", figure, study.answer)


def _cell(runs: list[Record], key: str) -> str:
    values = measures(runs, key)
    if not values:
        return "never" if runs and key.startswith(EPOCHS_TO) else ""
    return f"{mean_and_spread(values)} ({len(values)})"


def _chosen(study: Study, by_value: dict[str, Point]) -> str:
    """The chosen settings of a row; one for each column where they differ."""
    one = len(study.choose) == 1  # its name is in the head
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
