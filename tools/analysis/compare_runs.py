#!/usr/bin/env python
"""Compare the learning curves of runs: accuracy, loss, link distance and λ over the epochs.

    tools/analysis/compare_runs.py WORK_DIR... OUT [--reach VALUE...]

A WORK_DIR may be NAME=WORK_DIR; runs of the same name are seeds of one recipe, drawn as their mean
in a band from the lowest to the highest. Printed beside the figure: the best accuracy, the last,
and the first validated epoch at which the accuracies of --reach were met (by default the best of
the first run).
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from aal_plugin.analysis.curves import PANELS, plot_curves
from aal_plugin.analysis.runs import epochs_to_reach, read_curves


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="[NAME=]WORK_DIR")
    parser.add_argument("out", help="the figure to write, such as curves.png")
    parser.add_argument("--reach", type=float, nargs="+", help="values of --metric to reach")
    parser.add_argument("--metric", default="accuracy/top1", help="key in the log")
    args = parser.parse_args()

    runs = defaultdict(list)
    try:
        for run in args.runs:
            name, _, work_dir = run.rpartition("=")
            runs[name or Path(work_dir).name].append(read_curves(work_dir))
    except ValueError as error:
        sys.exit(f"error: {error}")
    for name, same in runs.items():
        if any(args.metric not in curves for curves in same):
            sys.exit(f"error: a run of {name} logged no {args.metric}; --metric names another key")

    best = {n: [float(c[args.metric][1].max()) for c in same] for n, same in runs.items()}
    reach = args.reach or [float(np.mean(next(iter(best.values()))))]
    print(f"{args.metric}, and the first validated epoch that reached a value\n")
    print(f"{'':16} {'runs':>4} {'best':>6} {'last':>6}" + "".join(f" {v:>7.1f}" for v in reach))
    for name, same in runs.items():
        last = np.mean([curves[args.metric][1][-1] for curves in same])
        cells = []
        for value in reach:
            reached = [epochs_to_reach(curves[args.metric], value) for curves in same]
            met = [epoch for epoch in reached if epoch is not None]
            all_met = len(met) == len(same)
            cells.append(f"{np.mean(met):.4g}" if all_met else f"{len(met)}/{len(same)}")
        row = f"{name:16} {len(same):4} {np.mean(best[name]):6.1f} {last:6.1f}"
        print(row + "".join(f" {cell:>7}" for cell in cells))
    if any(len(same) > 1 for same in runs.values()):
        print("\nmeans over the runs of a name")
    print("\n0/1: so many of the runs reached it")

    panels = dict(PANELS)
    panels.setdefault(args.metric, args.metric)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    plot_curves(runs, panels).savefig(out, dpi=130)
    print(f"\nwrote {out}")


if __name__ == "__main__":
    main()
