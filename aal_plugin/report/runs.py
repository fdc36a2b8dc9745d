"""`RecordedRun`: what the files of a run say; runs that differ by their seed are one group."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from aal_plugin.analysis.runs import LINK_WEIGHT, Run, named_folder, read_run
from aal_plugin.analysis.saved_links import LinkHistory, link_history

from .facts import mmpretrain_details, timm_details

# Settings that differ between runs of one recipe.
_OF_ONE_RUN = (
    *("work_dir", "seed", "resume", "load_from", "experiment_name", "log_level"),  # MMEngine
    *("output", "experiment", "log_wandb", "local_rank", "rank"),  # timm
)


@dataclass
class RecordedRun(Run):
    """What a run logged, and what else its work dir says."""

    folder: Path = Path()
    front_end: str = "MMPretrain"  # or 'timm'
    settings: dict[str, Any] = field(default_factory=dict)  # the config or the options
    facts: dict[str, str] = field(default_factory=dict)  # what was trained on what, by label
    versions: dict[str, str] = field(default_factory=dict)  # of the software, by name
    seed: int | None = None
    planned: int | None = None  # length that the settings ask for, in `unit`s
    batch_size: int | None = None  # on one rank
    links: LinkHistory = LinkHistory({})  # noqa: RUF009 a tuple; without any, its source says why
    teacher_own_top1: float | None = None  # the best (%) in the teacher's own log
    checkpoint: Path | None = None  # the newest
    config_file: Path | None = None  # that rebuilds the model
    tested: dict[str, float] = field(default_factory=dict)  # results of tools/test.py, by metric
    seconds: float | None = None  # of the whole run, on the clock
    scheduled: bool = True  # whether something sets λ over the epochs


Groups = dict[str, list[RecordedRun]]  # by name; the runs of a group differ by their seed


def read_recorded_run(folder: Path) -> RecordedRun:
    """The run in a work dir of MMPretrain or an output folder of timm's train.py.

    Raises:
        ValueError: the folder holds no run.
    """
    log = read_run(folder)
    details = mmpretrain_details(folder, log) if log.folders else timm_details(folder)
    links = LinkHistory({})
    if LINK_WEIGHT in log.curves:
        try:
            links = link_history(folder)
        except ValueError as error:
            links = LinkHistory({}, source=str(error))
    return RecordedRun(**vars(log), folder=folder, links=links, **details)


def read_groups(given: Sequence[str | os.PathLike]) -> Groups:
    """Runs by the name of their group.

    Args:
        given: work dirs, or NAME=WORK_DIR. Runs that are given one name are one group. Without a
            name, runs whose settings differ by the seed alone are one group.

    Raises:
        ValueError: a folder holds no run of MMPretrain or timm.
    """
    found: dict[tuple[str, str], list[RecordedRun]] = {}
    for text in given:
        name, folder = named_folder(text) if isinstance(text, str) else ("", Path(text))
        record = read_recorded_run(folder)
        found.setdefault((name, "" if name else _recipe(record)), []).append(record)
    taken = {name for name, _ in found if name}
    groups: Groups = {}
    for (name, _), same in found.items():
        own = _name(same)
        free = (f"{own} ({n})" if n > 1 else own for n in count(1))
        groups[name or next(n for n in free if n not in taken | set(groups))] = same
    return groups


def how_many(groups: Groups) -> str:
    """The number of runs and groups in words: '3 runs in 1 group'."""
    runs = sum(map(len, groups.values()))
    words = ((runs, "run"), (len(groups), "group"))
    return " in ".join(f"{n} {noun}" + ("" if n == 1 else "s") for n, noun in words)


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
