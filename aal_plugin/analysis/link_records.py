"""Link strengths epoch by epoch, as `LinkHeatmapHook` writes them to a work dir."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

RECORDS = "link_strength.json"


def append_record(folder: str | os.PathLike, epoch: int, strength: np.ndarray) -> None:
    """Add a line to the folder's records; strength (levels, blocks), NaN without a link."""
    rows = [[None if np.isnan(v) else round(float(v), 6) for v in row] for row in strength]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder) / RECORDS, "a") as file:
        file.write(json.dumps(dict(epoch=epoch, strength=rows)) + "\n")


def read_records(work_dir: str | os.PathLike) -> dict[int, np.ndarray]:
    """Strengths (levels, blocks) by epoch, over all runs in the work dir.

    The records of a resumed run replace earlier ones from its first epoch on.
    """
    records: dict[int, np.ndarray] = {}
    for path in sorted(Path(work_dir).glob(f"*/vis_data/{RECORDS}")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if lines:
            records = {e: strength for e, strength in records.items() if e < lines[0]["epoch"]}
            records.update((line["epoch"], np.array(line["strength"], float)) for line in lines)
    return records
