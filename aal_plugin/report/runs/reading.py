"""Reads the given work dirs and groups the runs that differ by their seed alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .mmpretrain import is_mmpretrain, read_mmpretrain
from .recorded_run import RecordedRun
from .timm import is_timm, read_timm

Groups = dict[str, list[RecordedRun]]  # by name; the runs of a group differ by their seed

# Settings that differ between runs of one recipe.
_OF_ONE_RUN = (
    *("work_dir", "seed", "resume", "load_from", "experiment_name", "log_level"),  # MMEngine
    *("output", "experiment", "log_wandb", "local_rank", "rank"),  # timm
)


def read_groups(given: Sequence[str]) -> Groups:
    """Runs by the name of their group.

    Args:
        given: work dirs, or NAME=WORK_DIR. Runs that are given one name are one group. Without a
            name, runs whose settings differ by the seed alone are one group.

    Raises:
        ValueError: a folder holds no run of MMPretrain or timm.
    """
    found: dict[tuple[str, str], list[RecordedRun]] = {}
    for text in given:
        name, _, folder = text.rpartition("=")
        record = read_run_of_any_kind(Path(folder))
        found.setdefault((name, "" if name else _recipe(record)), []).append(record)
    taken = {name for name, _ in found if name}
    groups: Groups = {}
    for (name, _), same in found.items():
        groups[name or _free_name(_name(same), taken | set(groups))] = same
    return groups


def how_many(groups: Groups) -> str:
    """The number of runs and groups in words: '3 runs in 1 group'."""
    runs = sum(map(len, groups.values()))
    words = ((runs, "run"), (len(groups), "group"))
    return " in ".join(f"{n} {noun}" + ("" if n == 1 else "s") for n, noun in words)


def read_run_of_any_kind(folder: Path) -> RecordedRun:
    """The run in a work dir.

    Raises:
        ValueError: the folder holds no run of MMPretrain or timm.
    """
    if is_mmpretrain(folder):
        return read_mmpretrain(folder)
    if is_timm(folder):
        return read_timm(folder)
    problem = "holds no training run" if folder.is_dir() else "is not a folder"
    raise ValueError(
        f"{str(folder)!r} {problem}; give a work dir of MMPretrain (*/vis_data/scalars.json) or an "
        "output folder of timm's train.py (summary.csv)"
    )


def _recipe(record: RecordedRun) -> str:
    """The settings as text, without those of one run; the folder where there are none."""
    if not record.settings:
        return str(record.folder)
    return json.dumps(_shared(record.settings), sort_keys=True, default=str)


def _shared(part: Any) -> Any:
    if isinstance(part, dict):
        return {str(k): _shared(v) for k, v in part.items() if k not in _OF_ONE_RUN}
    return [_shared(entry) for entry in part] if isinstance(part, (list, tuple)) else part


def _name(same: Sequence[RecordedRun]) -> str:
    """The folder's name; its parent's for folders such as seed0."""
    folder = same[0].folder.resolve()
    numbered = re.fullmatch(r"(seed|run)?[-_]?\d+", folder.name)
    name = folder.parent.name if numbered else folder.name
    return re.sub(r"[-_]?seed[-_]?\d+$", "", name) or name if len(same) > 1 else name


def _free_name(name: str, taken: set[str]) -> str:
    free, number = name, 2
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free
