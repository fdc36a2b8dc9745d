"""Links on the disk: in checkpoints of MMEngine and timm, and in the records of `LinkHeatmapHook`.

Checkpoints are read without the packages that wrote them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.core.losses.links import Range
from aal_plugin.data_only import data_only

from .links import (
    GROWTH,
    LABEL,
    find_links,
    link_growth,
    link_strength,
    start_strength,
)
from .runs import joined, json_lines

RECORDS = "link_strength.json"
# Names of kept checkpoints, and the number in the name of the first epoch's: MMEngine, timm.
_CHECKPOINTS = ((r"epoch_(\d+)\.pth", 1), (r"checkpoint-(\d+)\.pth\.tar", 0))
_MOST = 4096  # upper limit of blocks and heads of a block in a file
# What else such files hold, none of which is needed here: logs, options, NumPy's numbers.
_IGNORED = (
    "argparse.Namespace",
    "builtins.getattr",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
)


class _Ignored:
    """Stands for any other object of a file: takes its place, and does nothing."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class SavedLinks(NamedTuple):
    """The arguments of `aal_plugin.analysis.link_strength`."""

    state_dict: dict[str, Tensor]
    ranges: list[Range]
    heads: list[int]


def read_links(path: str, ema: bool = False) -> SavedLinks:
    """Read the links of a checkpoint without building its model; no code in the file is run.

    Args:
        ema: read the average of EMAHook or of timm's --model-ema, not the raw links.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the file is no checkpoint, has no links, or does not say which blocks they link.
    """
    saved = load_as_data(path)
    if isinstance(saved.get("task_state"), dict):  # of timm
        key = "task_state_ema" if ema else "task_state"
        state, where = saved.get(key), f"{key}['links']"
        if not isinstance(state, dict):
            raise ValueError(f"--ema: checkpoint {path!r} has no averaged links of --model-ema")
        linked = state.get("links")
        weights = linked.get("state_dict") if isinstance(linked, dict) else None
    else:
        weights = saved_weights(saved, ema, path) if "state_dict" in saved else saved
        meta, where = saved.get("meta"), "meta['attention_links']"
        linked = meta.get("attention_links") if isinstance(meta, dict) else None
    links = find_links(weights) if isinstance(weights, dict) else {}
    if not links:
        raise ValueError(
            f"checkpoint {path!r} has no attention links: it was trained without AAL, or is an "
            "exported student"
        )
    if linked is None:
        raise ValueError(
            f"checkpoint {path!r} has links, but no {where} with the blocks that they link; train "
            "with LambdaDecayHook or LinkHeatmapHook, which save it"
        )
    named = {f"links.{level}.weight": links[level] for level in sorted(links)}
    try:
        heads = [int(count) for count in linked["heads"]]
        ranges = [(int(first), int(last)) for first, last in linked["ranges"]]
        numbers = [len(heads), *heads, *(block for pair in ranges for block in pair)]
        if len(ranges) != len(named) or not all(0 < number <= _MOST for number in numbers):
            raise ValueError
        link_strength(named, ranges, heads)
    except (TypeError, KeyError, ValueError, IndexError, ArithmeticError):
        raise ValueError(
            f"checkpoint {path!r}: {where} does not describe the links in the file; was the file "
            "changed?"
        ) from None
    return SavedLinks(named, ranges, heads)


def load_as_data(path: str) -> dict[str, Any]:
    """Load a checkpoint to the CPU: tensors and plain values, and stand-ins for all other objects.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the file is damaged, is no checkpoint, or holds code.
    """
    check_checkpoint(path)
    try:
        with data_only([(_Ignored, name) for name in _IGNORED]):
            saved = torch.load(path, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(
            f"checkpoint {path!r} cannot be read: it is damaged, or holds more than weights and "
            "plain data"
        ) from error
    return saved if isinstance(saved, dict) else {}


def saved_weights(saved: dict[str, Any], ema: bool, name: str) -> dict[str, Tensor]:
    """The model's state dict in a checkpoint of MMEngine; with `ema` the average of EMAHook.

    Raises:
        ValueError: `ema` is set, but the checkpoint has no average.
    """
    # EMAHook swaps on saving: 'state_dict' has the averaged weights, 'ema_state_dict' the raw.
    # KeptEMAHook does not swap, and marks its checkpoints with meta['raw_state_dict'].
    if "ema_state_dict" not in saved:
        if ema:
            raise ValueError(f"--ema: checkpoint {name!r} has no averaged weights of EMAHook")
        return saved["state_dict"]
    if ema != bool(saved.get("meta", {}).get("raw_state_dict")):
        return saved["state_dict"]
    prefix = "module."
    other = saved["ema_state_dict"].items()
    return {key[len(prefix) :]: value for key, value in other if key.startswith(prefix)}


class LinkHistory(NamedTuple):
    """Links by epoch, (levels, blocks) with NaN where there is no link; their unit and source."""

    by_epoch: dict[int, np.ndarray]
    label: str = ""
    source: str = ""


def append_record(
    folder: str | os.PathLike,
    epoch: int,
    strength: np.ndarray,
    ranges: Sequence[Range],
    heads: Sequence[int],
) -> None:
    """Add a line to the folder's records; strength (levels, blocks), NaN without a link."""
    rows = [[None if np.isnan(v) else round(float(v), 6) for v in row] for row in strength]
    line = dict(epoch=epoch, strength=rows, ranges=list(ranges), heads=list(heads))
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / RECORDS, "a") as file:
        file.write(json.dumps(line) + "\n")


def link_history(work_dir: str | os.PathLike, absolute: bool = False) -> LinkHistory:
    """The links of every epoch that a run recorded, or else of the checkpoints that it kept.

    They are how many times as large as before training; with `absolute` the mean magnitudes.

    Raises:
        ValueError: a checkpoint has no links, or cannot be read.
    """
    keys = {"epoch", "strength", "ranges", "heads"}
    logs = [
        [(line["epoch"], line) for line in json_lines(path) if line.keys() >= keys]
        for path in sorted(Path(work_dir).glob(f"*/vis_data/{RECORDS}"))
    ]
    found: dict[int, np.ndarray] = {}
    for epoch, line in joined(logs):
        found[epoch] = np.array(line["strength"], float)
        if not absolute:
            found[epoch] /= start_strength(line["ranges"], line["heads"])
    source = "the records of LinkHeatmapHook"
    if not found:
        measure = link_strength if absolute else link_growth
        kept = sorted(
            (int(match.group(1)) + 1 - first, path)
            for pattern, first in _CHECKPOINTS
            for path in Path(work_dir).glob("*.pth*")
            if (match := re.fullmatch(pattern, path.name))
        )
        found = {epoch: measure(*read_links(str(path))) for epoch, path in kept}
        source = "the checkpoints that the run kept; LinkHeatmapHook records every epoch"
    return LinkHistory(found, LABEL if absolute else GROWTH, source)
