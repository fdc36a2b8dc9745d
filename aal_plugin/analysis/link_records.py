"""How strong the links were epoch by epoch: records of `LinkHeatmapHook`, or kept checkpoints."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aal_plugin.core.losses.links import Range

from .links import GROWTH, LABEL, link_growth, link_strength, start_strength
from .runs import in_order, json_lines
from .saved_links import read_links

RECORDS = "link_strength.json"
# Names of kept checkpoints, and the number in the name of the first epoch's: MMEngine, timm.
_CHECKPOINTS = ((r"epoch_(\d+)\.pth", 1), (r"checkpoint-(\d+)\.pth\.tar", 0))


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

    Args:
        work_dir: a work dir of MMEngine, or an output folder of timm's train.py.
        absolute: mean magnitudes, not how many times as large as before training they are.

    Raises:
        ValueError: a checkpoint has no links, or cannot be read.
    """
    records = _records(Path(work_dir))
    if records:
        source = "the records of LinkHeatmapHook"
        strength = {epoch: np.array(line["strength"], float) for epoch, line in records.items()}
        if absolute:
            return LinkHistory(strength, LABEL, source)
        growth = {
            epoch: strength[epoch] / start_strength(line["ranges"], line["heads"])
            for epoch, line in records.items()
        }
        return LinkHistory(growth, GROWTH, source)
    measure = link_strength if absolute else link_growth
    read = {epoch: measure(*read_links(str(path))) for epoch, path in _checkpoints(Path(work_dir))}
    source = "the checkpoints that the run kept; LinkHeatmapHook records every epoch"
    return LinkHistory(read, LABEL if absolute else GROWTH, source)


def _records(work_dir: Path) -> dict[int, dict]:
    """Lines by epoch; those of a resumed run replace earlier ones from its first epoch on."""
    keys = {"epoch", "strength", "ranges", "heads"}
    logs: dict[Path, dict[int, dict]] = {}
    for path in sorted(work_dir.glob(f"*/vis_data/{RECORDS}")):
        if lines := [line for line in json_lines(path) if line.keys() >= keys]:
            logs[path] = {line["epoch"]: line for line in lines}
    records: dict[int, dict] = {}
    for path in in_order(logs):
        first = min(logs[path])
        records = {epoch: line for epoch, line in records.items() if epoch < first} | logs[path]
    return records


def _checkpoints(work_dir: Path) -> list[tuple[int, Path]]:
    return sorted(
        (int(found.group(1)) + 1 - first, path)
        for pattern, first in _CHECKPOINTS
        for path in work_dir.glob("*.pth*")
        if (found := re.fullmatch(pattern, path.name))
    )
