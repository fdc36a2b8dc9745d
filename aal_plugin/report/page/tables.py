"""Tables of the page as HTML: runs, numbers of the curves, localisation, time and memory."""

from __future__ import annotations

import html
import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from aal_plugin.report.runs.reading import Groups
from aal_plugin.report.runs.recorded_run import TEACHER_TOP1, TOP1, RecordedRun

from .curves import Panel

NONE = "–"


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], wrap: bool = False
) -> str:
    """A table whose first column names the rows; with `wrap`, long cells have several lines."""
    top = "".join(f'<th scope="col">{html.escape(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    label = html.escape(caption, quote=True)
    kind = ' class="wrap"' if wrap else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table{kind}>'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def results_table(groups: Groups) -> str:
    """A row for each group: its seeds, and its last and best top-1."""
    rows = []
    for name, runs in groups.items():
        seeds = ", ".join(str(run.seed) for run in runs if run.seed is not None)
        length = max(int(curve[0][-1]) for run in runs for curve in run.curves.values())
        rows.append(
            (
                name,
                spread([run.last(TOP1) for run in runs], "%"),
                spread([run.best(TOP1) for run in runs], "%"),
                spread([run.last(TEACHER_TOP1) for run in runs], "%"),
                f"{length} {runs[0].unit}" + ("" if length == 1 else "s"),
                f"{len(runs)}" + (f" (seeds {seeds})" if seeds else ""),
                runs[0].front_end,
            )
        )
    heads = ("", "last top-1", "best top-1", "teacher's top-1", "length", "runs", "trained with")
    return table("Results, mean ± standard deviation over runs", heads, rows)


def facts_table(groups: Groups) -> str:
    """A row for each fact about what was trained on what; a column for each group."""
    firsts = [runs[0] for runs in groups.values()]
    labels = list(dict.fromkeys(label for run in firsts for label in run.facts))
    rows = [(label, *(run.facts.get(label, NONE) for run in firsts)) for label in labels]
    for name in dict.fromkeys(name for run in firsts for name in run.versions):
        rows.append((name, *(run.versions.get(name, "not recorded") for run in firsts)))
    return table("What was trained on what", ("", *groups), rows, wrap=True)


def numbers_table(panel: Panel) -> str:
    """The numbers of a curve, for eyes that do not read charts."""
    epochs = sorted({int(epoch) for row in panel.rows.values() for epoch in row[0]})
    cells = {
        name: {int(e): _number(m, low, high, row[4]) for e, m, low, high in zip(*row[:4])}
        for name, row in panel.rows.items()
    }
    rows = [(str(e), *(cells[name].get(e, NONE) for name in cells)) for e in epochs]
    unit = f" ({panel.unit})" if panel.unit else ""
    return table(f"{panel.title}{unit}", (panel.over, *cells), rows)


def localization_table(groups: Groups) -> str | None:
    """A row for each metric of LocalizationAccuracy; None where no run recorded one."""
    values = {name: [_localization(run) for run in runs] for name, runs in groups.items()}
    values = {name: found for name, found in values.items() if any(found)}
    metrics = list(dict.fromkeys(key for found in values.values() for one in found for key in one))
    if not metrics:
        return None
    rows = [
        (metric, *(spread([one.get(metric) for one in found]) for found in values.values()))
        for metric in metrics
    ]
    return table("Localisation by attention", ("", *values), rows)


def cost_table(groups: Groups) -> str:
    """A row for each group: seconds of a step, images per second, duration and memory."""
    rows = []
    for name, runs in groups.items():
        step = [_median(run, "time") for run in runs]
        rate = [run.batch_size / s if s and run.batch_size else None for run, s in zip(runs, step)]
        total = [
            run.seconds or (s * run.steps if s and run.steps else None)
            for run, s in zip(runs, step)
        ]
        rows.append(
            (
                name,
                spread(step, " s", 3),
                spread(rate, "", 0),
                spread([t / 60 if t else None for t in total], " min"),
                spread([_highest(run, "memory") for run in runs], " MB", 0),
            )
        )
    heads = ("", "step (median)", "images per second, one rank", "whole run", "GPU memory, peak")
    return table("Time and memory", heads, rows)


def spread(values: Sequence[float | None], unit: str = "", digits: int = 1) -> str:
    """Mean ± standard deviation in words, over the values that exist."""
    known = [value for value in values if value is not None]
    if not known:
        return "not recorded"
    mean = f"{statistics.mean(known):,.{digits}f}"
    more = f" ± {statistics.stdev(known):,.{digits}f}" if len(known) > 1 else ""
    return mean + more + unit


def _number(mean: float, low: float, high: float, count: int) -> str:
    return f"{mean:.4g}" + (f" ({low:.4g} to {high:.4g})" if count > 1 else "")


def _localization(run: RecordedRun) -> dict[str, float]:
    logged = {key: run.last(key) for key in run.curves if key.startswith("localization")}
    tested = {key: v for key, v in run.tested.items() if key.startswith("localization")}
    return {key: value for key, value in {**logged, **tested}.items() if value is not None}


def _median(run: RecordedRun, key: str) -> float | None:
    return float(np.median(run.curves[key][1])) if key in run.curves else None


def _highest(run: RecordedRun, key: str) -> float | None:
    return float(run.curves[key][1].max()) if key in run.curves else None
