"""The goals, and what the results say about each."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

OPEN = "not measured"
_COMPARE = {"<=": operator.le, ">=": operator.ge}
Results = Mapping[str, dict[str, Any]]


class Goal(NamedTuple):
    """A figure of one part, and its limit."""

    part: str
    figure: str
    compare: str
    limit: float
    value: Callable[[dict[str, Any]], float]


def links_share(result: dict[str, Any]) -> float:
    """Median over the rounds of the links' time by AAL's step."""
    steps = result["steps"]
    links, step = steps["part: links and distance"]["seconds"], steps["aal step"]["seconds"]
    return statistics.median(a / b for a, b in zip(links, step))


def memory_ratio(result: dict[str, Any]) -> float:
    """Peak memory of AAL's step by that of student and teacher together."""
    taken = {name: row["peak_memory_bytes"] for name, row in result["steps"].items()}
    return taken["aal step"] / (taken["student step"] + taken["teacher forward"])


def loader_share(result: dict[str, Any]) -> float:
    """Images per second of the fastest loader by those of AAL's step."""
    return max(result["loader"].values()) / result["step"]


def _key(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda result: result[name]


_BOTH: list[tuple[str, str, float, Callable[[dict[str, Any]], float]]] = [
    ("AAL step / (student + teacher)", "<=", 1.03, _key("overhead_ratio")),
    ("memory / (student + teacher)", "<=", 1.05, memory_ratio),
    ("FeatureDistillationTask / AAL step", ">=", 1.0, _key("timm_feature_ratio")),
    ("straightforward AAL / AAL step", ">=", 1.5, _key("straightforward_ratio")),
]
GOALS = [
    Goal("tests", "tests that failed", "<=", 0, _key("failed")),
    *(Goal("benchmark", *row) for row in _BOTH),
    Goal("benchmark", "links / AAL step", "<=", 0.02, links_share),
    Goal("benchmark", "timm's teacher / ours", ">=", 1.5, _key("teacher_ratio")),
    *(Goal("benchmark_compiled", *row) for row in _BOTH),
    Goal("input", "loader / step, images per second", ">=", 1.0, loader_share),
]


def judge(results: Results) -> list[dict[str, Any]]:
    """One row per goal: part, figure, goal, value and whether it is met, or None.

    Args:
        results: `result` of each part that has one.

    Example:
        >>> judge(dict(tests=dict(failed=0)))[0]
        {'part': 'tests', 'figure': 'tests that failed', 'goal': '<= 0', 'value': 0, 'met': True}
    """
    rows = []
    for goal in GOALS:
        try:
            value: Any = goal.value(results[goal.part])
        except (KeyError, TypeError):  # the part has not run, or has no such figure on this device
            value = None
        met = None if value is None else bool(_COMPARE[goal.compare](value, goal.limit))
        limit = f"{goal.compare} {goal.limit:g}"
        rows.append(dict(part=goal.part, figure=goal.figure, goal=limit, value=value, met=met))
    return rows


def as_text(rows: list[dict[str, Any]], results: Results) -> str:
    """A table of the goals, and the study's accuracies."""
    lines = []
    for row in rows:
        value = OPEN if row["value"] is None else f"{row['value']:.3f}"
        met = {None: "", True: "met", False: "MISSED"}[row["met"]]
        lines.append(f"{row['part']:19} {row['figure']:35} {row['goal']:>8} {value:>12} {met}")
    for part, name in (("teacher", "CNN"), ("plain", "ViT"), ("aal", "ViT with AAL")):
        result = results.get(f"study_{part}")
        value = f"{result['top1']:.1f} %" if result else OPEN
        lines.append(f"{'study':19} {name + ', top-1':35} {'':8} {value:>12}")
    return "\n".join(lines)
