"""Runs that no training wrote: records, work dirs of MMPretrain, output folders of timm."""

import json
from pathlib import Path

import numpy as np

from aal_plugin.analysis.saved_links import LinkHistory, append_record
from aal_plugin.report.runs import RecordedRun


def curve(*values, first=1):
    return np.arange(first, first + len(values)), np.array(values, float)


def record(curves=None, links=None, **fields):
    links = LinkHistory(links or {}, "size", "a file")
    return RecordedRun(curves=curves or {}, links=links, **fields)


def write_work_dir(folder, config="", lines=(), stamp="20260101_000000", log=""):
    """A work dir of MMPretrain with one log; a second stamp adds another."""
    run = Path(folder) / stamp
    (run / "vis_data").mkdir(parents=True)
    (run / "vis_data" / "config.py").write_text(config)
    lines = lines or [dict(epoch=1, step=1, iter=1, lr=0.1, loss=1.0)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "vis_data" / "scalars.json").write_text(text)
    if log:
        (run / f"{stamp}.log").write_text(log)
    return Path(folder)


def write_linked_dir(folder):
    """A work dir with links at two epochs."""
    lines = [
        dict(epoch=e, step=e, iter=e, lr=0.1, loss=1.0, link_weight=9 - e, link_distance=0.1 / e)
        for e in (1, 2)
    ]
    written = write_work_dir(folder, lines=lines)
    for epoch in (1, 2):
        strength = np.full((2, 3), 0.1 * epoch)
        records = written / "20260101_000000" / "vis_data"
        append_record(records, epoch, strength, [(1, 3)] * 2, [2, 2, 2])
    return written


def write_timm_dir(folder, summary, options=""):
    folder = Path(folder)
    folder.mkdir(parents=True)
    (folder / "summary.csv").write_text(summary)
    if options:
        (folder / "args.yaml").write_text(options)
    return folder
