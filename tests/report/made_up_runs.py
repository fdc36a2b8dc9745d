"""Runs that no training wrote: records, work dirs of MMPretrain, output folders of timm."""

import json
from pathlib import Path

import numpy as np

from aal_plugin.analysis.link_records import LinkHistory
from aal_plugin.report.runs import RecordedRun


def curve(*values, first=1):
    return np.arange(first, first + len(values)), np.array(values, float)


def record(curves=None, links=None, **fields):
    given = dict(folder=Path("run"), front_end="MMPretrain", settings={}, unit="epoch", facts={})
    links = LinkHistory(links or {}, "size", "a file")
    return RecordedRun(curves=curves or {}, links=links, **{**given, **fields})


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


def write_timm_dir(folder, summary, options=""):
    folder = Path(folder)
    folder.mkdir(parents=True)
    (folder / "summary.csv").write_text(summary)
    if options:
        (folder / "args.yaml").write_text(options)
    return folder
