"""Learning curves from MMEngine's logs of a work dir.

MMPretrain's analyze_logs.py draws one curve per file, and handles neither resumed runs nor the
epoch at which a run reached an accuracy. This module reads `*/vis_data/scalars.json` itself.
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
    """Every logged number by epoch: means over an epoch's training lines, and validation's values.

    The log of a resumed run replaces earlier logs from its first epoch on.

    Raises:
        ValueError: the work dir holds no training log.
    """
    lines: list[tuple[int, dict]] = []
    unit = "epoch"
    for path in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        read = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        if not any("lr" in line for line in read):  # the run ended before its first line
            continue
        unit = "epoch" if any("epoch" in line for line in read) else "iteration"
        # Lines of validation have no key "epoch": their step is the epoch.
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
    """The first epoch at which a curve is at least `value`; None if never."""
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
