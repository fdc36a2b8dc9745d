#!/usr/bin/env python
"""Train several configs with several seeds, and print their top-1 as mean ± standard deviation.

    tools/compare.py configs/shapes/quickstart_{plain,aal}.py --seeds 0 1 2 --jobs 2

Results are written to work_dirs/compare; finished runs are not run again. Each training uses its
share of the cores, or OMP_NUM_THREADS threads if that is set.
"""

import argparse
import statistics
import sys
from pathlib import Path

from mmengine.config import DictAction

from aal_plugin.core.settings import check_whole
from aal_plugin.mm.configs.reading import read_config
from aal_plugin.mm.runtime.trials import Trial, run_trials
from aal_plugin.plain_errors import plain_errors
from aal_plugin.whole_files import write_whole


def main() -> None:
    args = parse_args()
    check_whole("--jobs", args.jobs, 1)
    stems = [Path(file).stem for file in args.configs]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{twice}: several configs have this name; rename one of them")
    trials = [trial(Path(file), seed, args) for file in args.configs for seed in args.seeds]
    try:
        results = run_trials(trials, Path(__file__).with_name("train.py"), args.jobs)
    except RuntimeError as error:
        sys.exit(str(error))
    table = format_table(args.configs, args.seeds, [result["top1"] for result in results])
    print(table)
    if args.out:
        write_whole(args.out, table + "\n")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--work-dir", default="work_dirs/compare", help="for logs and results")
    parser.add_argument("--out", help="write the table to this file too (Markdown)")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        help="settings of all runs, as in tools/train.py; use another --work-dir with them",
    )
    return parser.parse_args()


def trial(file: Path, seed: int, args: argparse.Namespace) -> Trial:
    cfg = read_config(file)
    cfg.merge_from_dict(args.cfg_options)
    cfg.merge_from_dict({"randomness.seed": seed})
    cfg.work_dir = f"{args.work_dir}/{file.stem}/seed{seed}"
    return Trial(f"{file.stem} seed {seed}", cfg)


def format_table(configs: list, seeds: list, top1: list) -> str:
    lines = [f"| config | top-1 %, {len(seeds)} seeds | each |", "|---|---|---|"]
    for index, file in enumerate(configs):
        runs = top1[index * len(seeds) : (index + 1) * len(seeds)]
        spread = f" ± {statistics.stdev(runs):.1f}" if len(runs) > 1 else ""
        each = " ".join(f"{value:.1f}" for value in runs)
        lines.append(f"| {Path(file).stem} | {statistics.mean(runs):.1f}{spread} | {each} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with plain_errors():
        main()
