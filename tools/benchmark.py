#!/usr/bin/env python
"""Measure the cost of AAL: its training step beside the student's, the teacher's and timm's.

    tools/benchmark.py --batch 16 --json benchmark.json             # on a CPU
    tools/benchmark.py --batch 256 --dtype bfloat16 [--compile]     # on a GPU
    tools/benchmark.py --sweep scaling.png                          # how the cost grows

Needs only torch and timm. All steps are timed in turn in one process; weights are random.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # tools.bench is in the checkout alone, which may not be installed
warnings.filterwarnings("ignore", message="aal_plugin|Fail to import")

from aal_plugin.process import plain_errors  # noqa: E402

if TYPE_CHECKING:
    from tools.bench.setting import Setting

CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)
# On a GPU, by default; a CPU is slower, and one step there takes long enough to be timed.
ON_GPU = dict(batch=256, dtype="bfloat16", rounds=20, warmup=3, repeat=5)
ON_CPU = dict(batch=16, dtype="float32", rounds=7, warmup=1, repeat=1)


def main() -> None:
    args = parse_args()
    if args.only and (args.count or args.sweep):
        raise ValueError(f"--only {args.only} chooses rows to time; drop --count or --sweep")
    # After the arguments: these imports take seconds.
    import torch

    from aal_plugin.files import save_figure, write_whole
    from tools.bench.counting import counts
    from tools.bench.scaling import draw_scaling, scaling
    from tools.bench.setting import Setting
    from tools.machine import about

    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    for name, value in (ON_GPU if args.device.startswith("cuda") else ON_CPU).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.threads:
        torch.set_num_threads(args.threads)
    setting = Setting(**{part.name: getattr(args, part.name) for part in fields(Setting)})
    report = dict(command=shlex.join(["tools/benchmark.py", *sys.argv[1:]]), **about(args.device))
    if args.sweep:
        report["scaling"] = scaling(
            setting, args.rounds, CLOCKS[args.clock], args.sweep_teachers.split(",")
        )
        save_figure(draw_scaling(report["scaling"]), args.sweep, dpi=110)
        print_scaling(report["scaling"])
    else:
        report.update(setting=vars(setting))
        if not args.count:
            report.update(measure(setting, args))
            print_table(report)
        report["counts"] = {name: row._asdict() for name, row in counts(setting).items()}
        print_counts(report)
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        write_whole(args.json, json.dumps(report, indent=1) + "\n")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--student", default="deit_small_patch16_224", help="a timm ViT")
    option("--teacher", default="efficientnet_b3", help="a timm CNN")
    option("--deit-teacher", default="regnety_160", help="teacher of DeiT's recipe; '' omits it")
    option("--batch", type=int, help="default: 256 on a GPU, 16 on a CPU")
    option("--size", type=int, default=224, help="side of the images in pixels")
    option("--classes", type=int, default=1000)
    option("--dtype", help="of autocast and teacher; default: bfloat16 on a GPU, float32 on a CPU")
    option("--device", help="default: cuda, or cpu where there is none")
    option("--links", default="full", help="full, alpha or beta")
    option("--compile", action="store_true", help="compile student, links and teacher")
    option("--channels-last", action=argparse.BooleanOptionalAction, default=True)
    option("--fold-norms", action=argparse.BooleanOptionalAction, default=True)
    option("--threads", type=int, help="CPU threads")
    option("--rounds", type=int, help="default: 20 on a GPU, 7 on a CPU")
    option("--warmup", type=int, help="default: 3 on a GPU, 1 on a CPU")
    option("--repeat", type=int, help="steps in one measurement; default: 5 on a GPU, 1 on a CPU")
    option(
        "--clock",
        default="wall",
        choices=CLOCKS,
        help="wall, or cpu: processor seconds of all threads",
    )
    option("--only", default="", help="rows of the table to measure, separated by commas")
    option("--count", action="store_true", help="count operations, flops and bytes; time nothing")
    option("--json", metavar="FILE", help="write the results to this file")
    option("--sweep", metavar="PNG", help="measure and draw how the cost grows instead")
    option("--sweep-teachers", default="resnet18,efficientnet_b0,efficientnet_b3,resnet50")
    return parser.parse_args()


def measure(setting: Setting, args: argparse.Namespace) -> dict:
    """Time all rows in turn, then their memory one by one."""
    from tqdm import tqdm

    from tools.bench.timed_steps import TimedSteps
    from tools.bench.timing import interleave, peak_memory

    made = TimedSteps(setting)
    rows = {
        "student step": made.plain,
        "teacher forward": made.teacher,
        "aal step": made.aal,
        "aal step: kept maps": made.kept,
        "teacher forward: timm's own": made.peers_teacher,
        "timm logit distillation": lambda: made.timm_task("logit"),
        "timm feature distillation": lambda: made.timm_task("feature"),
        "straightforward aal": made.straightforward,
        **made.without(),
        **made.parts(),
    }
    if args.deit_teacher:
        name = f"timm logit distillation: {args.deit_teacher}"
        rows[name] = lambda: made.timm_task("logit", args.deit_teacher)
    if args.only:
        chosen = [name.strip() for name in args.only.split(",")]
        unknown = [name for name in chosen if name not in rows]
        if unknown:
            raise ValueError(f"--only {unknown}; choose among {list(rows)}")
        rows = {name: rows[name] for name in chosen}
    steps = {name: make() for name, make in rows.items()}

    rounds = args.warmup + args.rounds
    with tqdm(total=len(steps) * (rounds + 1), desc="steps", leave=False) as bar:
        timings = interleave(
            steps,
            args.rounds,
            args.warmup,
            args.repeat,
            args.device,
            CLOCKS[args.clock],
            advance=bar.update,
        )
        memory = {}
        for name, step in steps.items():
            memory[name] = peak_memory(step, args.device)
            bar.update()
    report = {
        name: dict(
            median=timing.median,
            minimum=min(timing.seconds),
            quartiles=timing.spread(),
            seconds=timing.seconds,
            peak_memory_bytes=memory[name],
        )
        for name, timing in timings.items()
    }
    return dict(clock=args.clock, steps=report, **ratios(report))


def ratios(steps: dict) -> dict:
    """Medians and quartiles of the ratios within each round, and the ratio of the memories.

    One round takes seconds, so a period in which the machine is slow changes no ratio.
    """
    from tools.bench.timing import Timing

    seconds = {name: row["seconds"] for name, row in steps.items()}
    whole = ("student step", "teacher forward")
    pairs = dict(
        student_ratio=("aal step", ("student step",)),
        kept_student_ratio=("aal step: kept maps", ("student step",)),
        overhead_ratio=("aal step", whole),
        straightforward_ratio=("straightforward aal", ("aal step",)),
        timm_feature_ratio=("timm feature distillation", ("aal step",)),
        timm_logit_ratio=("timm logit distillation", ("aal step",)),
        teacher_ratio=("teacher forward: timm's own", ("teacher forward",)),
        links_ratio=("part: links and distance", ("aal step",)),
    )
    found = {}
    for name, (over, under) in pairs.items():
        if not {over, *under} <= set(seconds):
            continue
        parts = zip(seconds[over], *(seconds[part] for part in under))
        ratio = Timing([first / sum(others) for first, *others in parts])
        found.update({name: ratio.median, f"{name}_quartiles": ratio.spread()})
    taken = [steps.get(name, {}).get("peak_memory_bytes") for name in ("aal step", *whole)]
    if all(taken):  # not where the system hides the peak
        found["memory_ratio"] = taken[0] / (taken[1] + taken[2])
    return found


def print_table(report: dict) -> None:
    steps = report["steps"]
    wide = max(map(len, steps))
    about = (report["setting"]["dtype"], f"{report['clock']} clock", report["versions"])
    print(f"\n{report['hardware']['device']}", *about, sep=", ")
    print(f"{'':{wide}} {'median ms':>10} {'quartiles':>17} {'minimum':>9} {'memory MiB':>11}")
    for name, row in steps.items():
        first, third = (1e3 * value for value in row["quartiles"])
        taken = row["peak_memory_bytes"]
        memory = "" if taken is None else f"{taken / 2**20:.0f}"
        print(
            f"{name:{wide}} {1e3 * row['median']:10.1f} {first:8.1f}–{third:<8.1f} "
            f"{1e3 * row['minimum']:9.1f} {memory:>11}"
        )
    for name in (key for key in report if key.endswith("_ratio")):
        spread = "–".join(f"{value:.3f}" for value in report.get(f"{name}_quartiles", ()))
        print(f"{name:{wide}} {report[name]:10.3f} {spread:>17}".rstrip())


def print_counts(report: dict) -> None:
    wide = max(map(len, report["counts"]))
    print(
        f"\n{'at batch ' + str(report['setting']['batch']):{wide}} {'operations':>10} "
        f"{'GFLOP':>10} {'GB moved':>10}"
    )
    for name, row in report["counts"].items():
        print(
            f"{name:{wide}} {row['operations']:10d} {row['flops'] / 1e9:10.1f} "
            f"{row['bytes'] / 1e9:10.2f}"
        )


def print_scaling(scaled: dict) -> None:
    for axis, found in scaled.items():
        print(f"\n{axis:>24} {'student ms':>11} {'teacher ms':>11} {'aal ms':>9} {'links ms':>9}")
        for point in found["points"]:
            values = [1e3 * point[name] for name in ("student", "teacher", "aal", "links")]
            print(
                f"{point['value']!s:>24} {values[0]:11.1f} {values[1]:11.1f} "
                f"{values[2]:9.1f} {values[3]:9.2f}"
            )
        if "r_squared" in found:
            print(f"{'':>24} straight line through {found['line']}: R² = {found['r_squared']:.4f}")


if __name__ == "__main__":
    with plain_errors():
        main()
