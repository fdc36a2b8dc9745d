"""Learning curves from MMEngine's logs of a work dir.

MMPretrain's analyze_logs.py draws one file a curve and knows neither resumed runs nor the epoch at
which an accuracy was reached, so the lines of `*/vis_data/scalars.json` are read here.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]  # epochs from 1, ascending, and a value for each


class Run(NamedTuple):
    """Curves by the key in the log, over epochs, or iterations where training has no epochs."""

    curves: dict[str, Curve]
    unit: str


def read_run(work_dir: str | os.PathLike) -> Run:
    """Every logged number by epoch: means over an epoch's lines, and what validation gave.

    A resumed run takes the place of what the earlier ones logged from its first epoch on.

    Raises:
        ValueError: no training log in the work dir.
    """
    lines: list[tuple[int, dict]] = []
    unit = "epoch"
    for path in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        read = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        if not any("lr" in line for line in read):  # it died before its first line
            continue
        unit = "epoch" if any("epoch" in line for line in read) else "iteration"
        # Validation's lines have no epoch of their own: their step is one.
        own = [(line.get("epoch", line["step"]), line) for line in read]
        lines = [(epoch, line) for epoch, line in lines if epoch < own[0][0]] + own
    if not lines:
        raise ValueError(f"{str(work_dir)!r} holds no training log (*/vis_data/scalars.json)")
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for epoch, line in lines:
        for key, value in line.items():
            if key not in ("epoch", "iter", "step") and isinstance(value, (int, float)):
                values[key][epoch].append(value)
    curves = {
        key: (np.array(sorted(by)), np.array([np.mean(by[epoch]) for epoch in sorted(by)]))
        for key, by in values.items()
    }
    return Run(curves, unit)


def epochs_to_reach(curve: Curve, value: float) -> int | None:
    """The first epoch at which a curve is at least so high; None if never."""
    epochs, values = curve
    reached = np.flatnonzero(values >= value)
    return int(epochs[reached[0]]) if len(reached) else None


def mean_curve(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Epochs that all runs have, and their mean, lowest and highest value."""
    shared = sorted(set.intersection(*(set(epochs.tolist()) for epochs, _ in curves)))
    stack = np.array([[v[list(e).index(epoch)] for epoch in shared] for e, v in curves])
    if not shared:
        return (np.array([]),) * 4
    return np.array(shared), stack.mean(axis=0), stack.min(axis=0), stack.max(axis=0)
