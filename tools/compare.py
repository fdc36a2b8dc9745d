#!/usr/bin/env python
"""Train several configs with several seeds, and print their top-1 as mean ± standard deviation.

    tools/compare.py configs/shapes/quickstart_{plain,aal}.py --seeds 0 1 2 --jobs 2
    tools/compare.py docs/results/studies/fair.yml --jobs 2

The first form prints the validation top-1. Results are written to work_dirs/compare; finished runs
are not run again.

The second runs a study: one YAML file with a question, configs, settings and seeds. It measures the
test images, and stores each finished run beside the study (fair.json) with its config, versions and
curves. A study that was interrupted goes on; a stored run is never run again.

Each training uses its share of the cores, or OMP_NUM_THREADS threads if that is set.
"""

import argparse
import statistics
import sys
from pathlib import Path

from aal_plugin.process import plain_errors

# tools.studies is in the checkout alone. Imports that take seconds come after the arguments.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
TRAIN = Path(__file__).with_name("train.py")


def main() -> None:
    args = parse_args()
    from aal_plugin.core.settings import check_whole
    from aal_plugin.files import write_whole

    check_whole("--jobs", args.jobs, 1)
    try:
        shown = studied(args) if args.study else compared(args)
    except RuntimeError as error:
        sys.exit(str(error))
    print(shown)
    if args.out:
        write_whole(args.out, shown + "\n")


def studied(args: argparse.Namespace) -> str:
    """Run a study, and return its question and table."""
    from tools.studies.records import Records
    from tools.studies.running import run_study
    from tools.studies.study import read_study
    from tools.studies.tables import table

    records = Records(args.results or Path(args.study).with_suffix(".json"))
    study = read_study(args.study)
    run_study(study, records, TRAIN, args.jobs, args.work_dir, args.keep_results)
    return "\n".join([study.question, "", *table(study, records)])


def compared(args: argparse.Namespace) -> str:
    """Run each config with each seed, and return the table."""
    from mmengine.config import DictAction

    from aal_plugin.mm.configs.reading import read_config
    from tools.studies.trainings import Training, run_trainings

    stems = [Path(file).stem for file in args.configs]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{twice}: several configs have this name; rename one of them")
    options = argparse.ArgumentParser(prog="compare.py")
    options.add_argument("--cfg-options", nargs="+", action=DictAction, default={})
    given = options.parse_args(["--cfg-options", *args.cfg_options] if args.cfg_options else [])
    trainings = []
    for file, stem in zip(args.configs, stems):
        for seed in args.seeds:
            cfg = read_config(file)
            cfg.merge_from_dict({**given.cfg_options, "randomness.seed": seed})
            cfg.work_dir = f"{args.work_dir}/{stem}/seed{seed}"
            trainings.append(Training(f"{stem} seed {seed}", cfg))
    results = run_trainings(trainings, TRAIN, args.jobs)
    return format_table(stems, args.seeds, [result["top1"] for result in results])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="configs, or one study (.yml)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument(
        "--work-dir", help="for logs and checkpoints (default: work_dirs/compare, work_dirs)"
    )
    parser.add_argument("--out", help="write the table to this file too (Markdown)")
    configs = parser.add_argument_group("options for configs")
    configs.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2")
    configs.add_argument(
        "--cfg-options",
        nargs="+",
        metavar="KEY=VALUE",
        help="settings of all runs, as in tools/train.py; use another --work-dir with them",
    )
    study = parser.add_argument_group("options for a study")
    study.add_argument("--results", help="JSON file of the runs (default: beside the study)")
    study.add_argument(
        "--keep-results", action="store_true", help="keep stored runs of another teacher's weights"
    )
    args = parser.parse_args()
    named = [file for file in args.configs if file.endswith((".yml", ".yaml"))]
    if named and len(args.configs) > 1:
        parser.error(f"give one study at a time, without configs: {args.configs}")
    args.study = named[0] if named else None
    for name in ("seeds", "cfg_options") if named else ("results", "keep_results"):
        if getattr(args, name):
            kind = "a study names its own" if named else "only a study (.yml) has"
            parser.error(f"--{name.replace('_', '-')}: {kind}")
    args.seeds = args.seeds or [0, 1, 2]
    args.work_dir = args.work_dir or ("work_dirs" if named else "work_dirs/compare")
    return args


def format_table(names: list, seeds: list, top1: list) -> str:
    lines = [f"| config | top-1 %, {len(seeds)} seeds | each |", "|---|---|---|"]
    for index, name in enumerate(names):
        runs = top1[index * len(seeds) : (index + 1) * len(seeds)]
        spread = f" ± {statistics.stdev(runs):.1f}" if len(runs) > 1 else ""
        each = " ".join(f"{value:.1f}" for value in runs)
        lines.append(f"| {name} | {statistics.mean(runs):.1f}{spread} | {each} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with plain_errors():
        main()
