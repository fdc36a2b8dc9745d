#!/usr/bin/env python
"""Compare the learning curves of runs: accuracy, loss, link distance and λ over the epochs.

    tools/analysis/compare_runs.py WORK_DIR... OUT [--reach VALUE...]

A WORK_DIR is MMPretrain's, or an output folder of timm's train.py, and may be NAME=WORK_DIR. Runs
of the same name are seeds of one recipe, drawn as their mean in a band from the lowest to the
highest. The tool also prints the best accuracy, the last, and the first validated epoch that
reached the accuracies of --reach (default: the best of the first run).
"""

import argparse
from collections import defaultdict

from aal_plugin.files import save_figure
from aal_plugin.process import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="[NAME=]WORK_DIR")
    parser.add_argument("out", help="the figure to write, such as curves.png")
    parser.add_argument("--reach", type=float, nargs="+", help="values of --metric to reach")
    parser.add_argument("--metric", default="accuracy/top1", help="key in the log")
    args = parser.parse_args()
    # After the arguments: these imports take seconds.
    import numpy as np

    from aal_plugin.analysis.curves import PANELS, plot_curves
    from aal_plugin.analysis.runs import named_folder, read_run

    runs = defaultdict(list)
    for run in args.runs:
        name, work_dir = named_folder(run)
        runs[name or work_dir.resolve().name].append(read_run(work_dir))
    for name, same in runs.items():
        for run in same:
            if args.metric not in run.curves:
                known = ", ".join(sorted(run.curves))
                raise ValueError(f"a run of {name} logged no {args.metric}; it has {known}")

    measured = {name: [run.curves[args.metric] for run in same] for name, same in runs.items()}
    best = {name: np.mean([values.max() for _, values in c]) for name, c in measured.items()}
    reach = args.reach or [next(iter(best.values()))]
    print(f"{args.metric}, and the first validated epoch at which it reached a value\n")
    print(f"{'':16} {'runs':>4} {'best':>6} {'last':>6}" + "".join(f" {v:>7.1f}" for v in reach))
    for name, curves in measured.items():
        last = np.mean([values[-1] for _, values in curves])
        cells = "".join(f" {epochs_cell(curves, value):>7}" for value in reach)
        print(f"{name:16} {len(curves):4} {best[name]:6.1f} {last:6.1f}{cells}")
    if len(args.runs) > len(runs):
        print("\nmeans over the runs of a name; n/m: n of m runs reached the value")

    panels = {args.metric: (args.metric, ""), **PANELS}
    save_figure(plot_curves(runs, panels), args.out, dpi=130)
    print(f"\nwrote {args.out}")


def epochs_cell(curves: list, value: float) -> str:
    from aal_plugin.analysis.runs import epochs_to_reach

    reached = [epochs_to_reach(curve, value) for curve in curves]
    met = [epoch for epoch in reached if epoch is not None]
    if len(met) == len(curves):
        return f"{sum(met) / len(met):.4g}"
    return "never" if len(curves) == 1 else f"{len(met)}/{len(curves)}"


if __name__ == "__main__":
    with plain_errors():
        main()
