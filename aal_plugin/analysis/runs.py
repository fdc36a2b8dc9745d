"""Learning curves of training runs: MMEngine's work dirs, and output folders of timm's train.py.

MMPretrain's analyze_logs.py draws one curve per file, and handles neither resumed runs nor the
epoch at which a run reached an accuracy. This module reads the logs itself.
"""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]  # epochs from 1, ascending, and a value for each
Lines = list[tuple[int, dict]]  # of a log, each with its epoch

# Keys of the curves, the same for both front ends.
TOP1 = "accuracy/top1"
TEACHER_TOP1 = "accuracy/teacher_top1"
LOSS = "loss"  # of the labels alone
LOSS_WITH_LINKS = "loss_with_links"  # timm logs the sum
LINK_DISTANCE = "link_distance"
LINK_WEIGHT = "link_weight"
GUIDANCE_LOSS = "loss_guidance"  # weighted
GUIDANCE_DISTANCE = "guidance_distance"  # without the weight; timm has none
GUIDANCE_WEIGHT = "guidance_weight"

_TIMM_KEYS = {
    "eval_top1": TOP1,
    "train_loss": LOSS_WITH_LINKS,
    "train_task_loss": LOSS,
    "train_link_distance": LINK_DISTANCE,
    "train_link_weight": LINK_WEIGHT,
    "train_guidance_loss": GUIDANCE_LOSS,
    "eval_loss": "eval_loss",
    "lr": "lr",
}


@dataclass
class Run:
    """What a run logged."""

    curves: dict[str, Curve]  # by the key in the log
    unit: str = "epoch"  # or 'iteration', where training has no epochs
    steps: int | None = None  # training steps that were logged
    # MMEngine's folders of the run and its resumed parts, the newest last; none of timm's.
    folders: list[Path] = field(default_factory=list)

    def last(self, key: str) -> float | None:
        return float(self.curves[key][1][-1]) if key in self.curves else None

    def best(self, key: str) -> float | None:
        return float(np.nanmax(self.curves[key][1])) if key in self.curves else None


def read_run(folder: str | os.PathLike) -> Run:
    """Every logged number by epoch: means over an epoch's training lines, and validation's values.

    What a resumed run logged replaces the earlier lines from its first epoch on. Lines that a crash
    left incomplete are skipped.

    Raises:
        ValueError: the folder holds no training run of MMPretrain or timm.
    """
    run = _mmengine_run(Path(folder)) or _timm_run(Path(folder) / "summary.csv")
    if run is None:
        problem = "holds no training run" if Path(folder).is_dir() else "is not a folder"
        raise ValueError(
            f"{str(folder)!r} {problem}; give a work dir of MMPretrain (*/vis_data/scalars.json) "
            "or an output folder of timm's train.py (summary.csv)"
        )
    return run


def named_folder(text: str) -> tuple[str, Path]:
    """Split NAME=FOLDER; the name is '' without one. Both may contain '=': the folder must exist.

    Example:
        >>> named_folder("lr=0.1=/")
        ('lr=0.1', PosixPath('/'))
    """
    if not Path(text).is_dir():
        for at, sign in enumerate(text):
            if sign == "=" and text[at + 1 :] and Path(text[at + 1 :]).is_dir():
                return text[:at], Path(text[at + 1 :])
    return "", Path(text)


def epochs_to_reach(curve: Curve, value: float) -> int | None:
    """The first epoch at which a curve is at least `value`; None if never."""
    epochs, values = curve
    return next((int(epoch) for epoch in epochs[values >= value]), None)


def mean_curve(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Epochs that all runs have, and their mean, lowest and highest value."""
    shared = reduce(np.intersect1d, [epochs for epochs, _ in curves])
    stack = np.array([values[np.isin(epochs, shared)] for epochs, values in curves])
    return shared, stack.mean(axis=0), stack.min(axis=0), stack.max(axis=0)


def group_curves(
    groups: Mapping[str, Sequence[Run]], key: str
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """`mean_curve` of a logged number by group, for groups whose runs have an epoch in common."""
    own = {name: [r.curves[key] for r in runs if key in r.curves] for name, runs in groups.items()}
    means = {name: mean_curve(curves) for name, curves in own.items() if curves}
    return {name: mean for name, mean in means.items() if len(mean[0])}


def json_lines(path: Path) -> list[dict]:
    """The objects of a file with one per line, without the lines that are incomplete."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]


def joined(logs: Sequence[Lines]) -> Lines:
    """The lines of a run and its resumed parts; each replaces the others from its first epoch on.

    The oldest log is the first, as the times in their names say.
    """
    lines: Lines = []
    for log in filter(None, logs):
        lines = [(epoch, line) for epoch, line in lines if epoch < log[0][0]] + log
    return lines


def _mmengine_run(work_dir: Path) -> Run | None:
    logs: dict[Path, Lines] = {}
    unit = "epoch"
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        read = [line for line in json_lines(path) if "epoch" in line or "step" in line]
        if any("lr" in line for line in read):  # else the run ended before its first line
            unit = "epoch" if any("epoch" in line for line in read) else "iteration"
            # Lines of validation have no key "epoch": their step is the epoch.
            logs[path] = [(line["epoch" if "epoch" in line else "step"], line) for line in read]
    lines = joined(list(logs.values()))
    steps = max((line["iter"] for _, line in lines if "iter" in line), default=None)
    return Run(_curves(lines), unit, steps, [p.parents[1] for p in logs]) if lines else None


def _timm_run(summary: Path) -> Run | None:
    if not summary.is_file():
        return None
    # A crash may leave zeros, which csv rejects before Python 3.11.
    text = summary.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    names: list[str] = []
    logs: list[Lines] = []
    for row in csv.reader(text.splitlines()):
        if "epoch" in row:  # the head; a run resumed in its folder writes it again
            names = row
            logs.append([])
        elif row and len(row) == len(names):  # else the row is incomplete
            cells = dict(zip(names, row))
            line = {}
            for name, key in _TIMM_KEYS.items():
                with suppress(ValueError):  # an empty cell
                    line[key] = float(cells.get(name, ""))
            logs[-1].append((int(cells["epoch"]) + 1, line))
    curves = _curves(joined(logs))
    if LOSS not in curves and LOSS_WITH_LINKS in curves:  # trained without AAL
        curves[LOSS] = curves.pop(LOSS_WITH_LINKS)
    return Run(curves) if curves else None


def _curves(lines: Lines) -> dict[str, Curve]:
    """Means by key and epoch, of all lines of an epoch."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for epoch, line in lines:
        for key, value in line.items():
            if key not in ("epoch", "iter", "step") and isinstance(value, (int, float)):
                values[key][epoch].append(value)
    return {
        key: (np.array(sorted(by)), np.array([np.mean(by[epoch]) for epoch in sorted(by)]))
        for key, by in values.items()
    }
