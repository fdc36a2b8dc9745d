"""Tables of the page: runs, numbers of the curves, localisation, time and memory."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aal_plugin.analysis.curves import PANELS
from aal_plugin.analysis.runs import TEACHER_TOP1, TOP1, group_curves

from .runs import Groups, RecordedRun

NONE = "–"


class Table(NamedTuple):
    """Cells as text; the first of a row is its name. Columns can be sorted unless `wrap` is set."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    wrap: bool = False  # long cells have several lines


def results_table(groups: Groups) -> Table:
    """A row for each group: its seeds, and its last and best top-1."""
    rows = []
    for name, runs in groups.items():
        seeds = [str(run.seed) for run in runs if run.seed is not None]
        given = f" (seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})" if seeds else ""
        length = max(int(curve[0][-1]) for run in runs for curve in run.curves.values())
        rows.append(
            (
                name,
                spread([run.last(TOP1) for run in runs], "%"),
                spread([run.best(TOP1) for run in runs], "%"),
                spread([run.last(TEACHER_TOP1) for run in runs], "%"),
                f"{length} {runs[0].unit}" + ("" if length == 1 else "s"),
                f"{len(runs)}{given}",
                runs[0].front_end,
            )
        )
    heads = ("", "last top-1", "best top-1", "teacher's top-1", "length", "runs", "trained with")
    return Table("Results, mean ± standard deviation over runs", heads, rows)


def facts_table(groups: Groups) -> Table:
    """A row for each fact about what was trained on what; a column for each group."""
    firsts = [runs[0] for runs in groups.values()]
    labels = dict.fromkeys(label for run in firsts for label in run.facts)
    rows = [(label, *(run.facts.get(label, NONE) for run in firsts)) for label in labels]
    for name in dict.fromkeys(name for run in firsts for name in run.versions):
        rows.append((name, *(run.versions.get(name, "not recorded") for run in firsts)))
    return Table("Configuration", ("", *groups), rows, wrap=True)


def numbers_table(groups: Groups, key: str) -> Table:
    """The numbers of a curve, for eyes that do not read charts."""
    over = " / ".join(dict.fromkeys(run.unit for runs in groups.values() for run in runs))
    cells = {
        name: {
            int(epoch): f"{mean:.4g}" + (f" ({low:.4g} to {high:.4g})" if low < high else "")
            for epoch, mean, low, high in zip(*curve)
        }
        for name, curve in group_curves(groups, key).items()
    }
    epochs = sorted({epoch for own in cells.values() for epoch in own})
    rows = [(str(e), *(own.get(e, NONE) for own in cells.values())) for e in epochs]
    title, unit = PANELS[key]
    return Table(f"{title} ({unit})" if unit else title, (over, *cells), rows)


def localization_table(groups: Groups) -> Table | None:
    """A row for each metric of LocalizationAccuracy; None where no run recorded one."""
    values = {name: [_localization(run) for run in runs] for name, runs in groups.items()}
    values = {name: found for name, found in values.items() if any(found)}
    metrics = dict.fromkeys(key for found in values.values() for one in found for key in one)
    rows = [
        (metric, *(spread([one.get(metric) for one in found]) for found in values.values()))
        for metric in metrics
    ]
    return Table("Localisation by attention", ("", *values), rows) if rows else None


def cost_table(groups: Groups) -> Table:
    """A row for each group: seconds of a step, images per second, duration and memory."""
    rows = []
    for name, runs in groups.items():
        step = [float(np.median(r.curves["time"][1])) if "time" in r.curves else None for r in runs]
        rate = [r.batch_size / s if s and r.batch_size else None for r, s in zip(runs, step)]
        total = [r.seconds or (s * r.steps if s and r.steps else None) for r, s in zip(runs, step)]
        rows.append(
            (
                name,
                spread(step, " s", 3),
                spread(rate, "", 0),
                spread([t / 60 if t else None for t in total], " min"),
                spread([run.best("memory") for run in runs], " MB", 0),
            )
        )
    heads = ("", "step (median)", "images per second, one rank", "whole run", "GPU memory, peak")
    return Table("Time and memory", heads, rows)


def spread(values: Sequence[float | None], unit: str = "", digits: int = 1) -> str:
    """Mean ± standard deviation in words, over the values that exist."""
    known = [value for value in values if value is not None]
    if not known:
        return "not recorded"
    mean = f"{statistics.mean(known):,.{digits}f}"
    more = f" ± {statistics.stdev(known):,.{digits}f}" if len(known) > 1 else ""
    return mean + more + unit


def _localization(run: RecordedRun) -> dict[str, float]:
    logged = {key: run.last(key) for key in run.curves}
    return {
        key: value
        for key, value in {**logged, **run.tested}.items()
        if key.startswith("localization") and value is not None
    }
