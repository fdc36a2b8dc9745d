"""Which of a study's runs are reported: chosen on validation images, never on test images."""

from __future__ import annotations

import statistics

from .records import TOP1, Record, Records
from .study import Point, Study


def chosen_points(study: Study, records: Records) -> list[Point]:
    """For each arm and each setting that is not chosen, the best combination of those that are.

    The best has the highest mean top-1 on the validation images over the first seeds.
    """
    some = study.seeds[: study.choose_seeds]
    best: dict[Point, tuple[float, Point]] = {}
    for point in study.points():
        found = [run.last(TOP1) for run in runs_of(point, records) if run.seed in some]
        if not found:
            continue
        score, group = statistics.mean(found), point.without(study.choose)
        if group not in best or score > best[group][0]:
            best[group] = (score, point)
    return [point for _, point in best.values()]


def runs_of(point: Point, records: Records) -> list[Record]:
    """The stored runs of a point, by seed."""
    values = dict(point.values)
    found = [run for run in records if run.arm == point.arm and dict(run.values) == values]
    return sorted(found, key=lambda run: run.seed)
