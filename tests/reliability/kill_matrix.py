#!/usr/bin/env python
"""Kill a training again and again, and compare its end with that of an uninterrupted run.

    python -m tests.reliability.kill_matrix [CONFIG] --kills 50 --seed 0

An uninterrupted run gives the expected end: weights to the bit, files, the best checkpoint and its
score, the validations' curve. Then runs of the same config are killed at random moments, which the
seed determines, resumed with `--resume`, killed again, and so on to their end. Each process is
forked from one that has imported everything, and receives SIGKILL or SIGTERM.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

from aal_plugin import files
from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.mm.runs.as_data import guard_loaders, load_as_data
from aal_plugin.mm.runs.protection import protected, switch_on

# What a process is doing when it is killed. From the sixth on: calls that write a file.
MOMENTS = {
    "at any time, from outside": "time",
    "at any step": "step",
    "SIGTERM at any step": "signal",
    "SIGTERM to the process group, at any step": "group",
    "at any batch of a validation, or after its last": "validation",
    "half of the bytes written": "write",
    "written, before they are on the disk": "fsync",
    "on the disk, before the rename": "replace",
    "renamed, before older files are removed": "remove",
    "in the very first save": "first",
}


class Deadly(Hook):
    """Ends its process at one step, or at the n-th call of a kind."""

    def __init__(self, moment: str, count: int) -> None:
        self.moment, self.count = moment, count

    def before_run(self, runner: Runner) -> None:
        self.process = os.getpid()  # not a worker, which has a copy of this
        kind = "write" if self.moment == "first" else self.moment
        if kind == "write":
            wrap(Path, "write_bytes", self, half_written)
            wrap(LocalBackend, "put", self, half_put)  # MMEngine's; ours is the above
        elif kind in ("fsync", "replace", "remove"):
            wrap(os, "unlink" if kind == "remove" else kind, self)
            if kind == "remove":
                wrap(os, "remove", self)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.moment in ("step", "signal", "group"):
            self.pass_by(signal.SIGKILL if self.moment == "step" else signal.SIGTERM)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.moment == "validation":
            self.pass_by()

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        if self.moment == "validation":
            self.pass_by()

    def pass_by(self, number: int = signal.SIGKILL) -> None:
        self.count -= 1
        if self.count == 0:
            # A group is a session of its own; its workers receive the signal, too.
            (os.killpg if self.moment == "group" else os.kill)(self.process, number)


def wrap(owner: Any, name: str, deadly: Deadly, before: Any = None) -> None:
    """Count the calls of a function; at the last count, die before the call (or halfway)."""
    real = getattr(owner, name)

    def counted(*args: Any, **options: Any) -> Any:
        if before is not None and deadly.count == 1:
            before(*args)
        deadly.pass_by()
        return real(*args, **options)

    setattr(owner, name, counted)


def half_written(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])


def half_put(backend: LocalBackend, content: bytes, path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    half_written(Path(path), content)


def train(config: Config, deadly: Deadly | None) -> None:
    """As tools/train.py CONFIG --resume does."""
    if config.get("mmengine_alone"):
        guard_loaders()  # torch would refuse MMEngine's checkpoints
    else:
        switch_on()
        protected(config)
    runner = Runner.from_cfg(config)
    if deadly is not None:
        runner.register_hook(deadly, priority="VERY_HIGH")
    runner.train()


def run(
    config: Config, work_dir: Path, deadly: Deadly | None = None, seconds: float | None = None
) -> int:
    """Train in a separate process, which resumes if the work dir exists.

    Args:
        seconds: kill the process after this time.

    Returns:
        Its exit status, negative for the signal that killed it.
    """
    config = copy.deepcopy(config)
    config.work_dir, config.resume = str(work_dir), work_dir.exists()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            log = os.open(f"{work_dir}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            config.experiment_name = f"kill-{os.getpid()}-{time.time_ns()}"
            train(config, deadly)
            status = 0
        except SystemExit as error:
            status = error.code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    killer = threading.Timer(seconds or 0, os.kill, (child, signal.SIGKILL))
    if seconds is not None:
        killer.start()
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # keeps the process id reserved
    killer.cancel()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def whole_checkpoints(work_dir: Path) -> list[Path]:
    found = []
    for path in work_dir.glob("*.pth"):
        try:
            check_checkpoint(str(path))
            found.append(path)
        except ValueError:
            pass
    return found


def ending(work_dir: Path) -> dict[str, Any]:
    """What a user finds after a run: weights, files, the best score and the validation's curve."""
    # From `last_checkpoint`, as a user finds it.
    last = load_as_data((work_dir / "last_checkpoint").read_text().strip())
    best = sorted(work_dir.glob("best_*.pth"))
    return dict(
        weights=last["state_dict"],
        step=last["meta"]["iter"],
        files=sorted(path.name for path in work_dir.glob("*.pth")),
        best=[load_as_data(str(path))["state_dict"] for path in best],
        best_score=last["message_hub"]["runtime_info"].get("best_score"),
        curve=sorted({(p["step"], p["accuracy/top1"]) for p in points(work_dir)}),
        left=sorted(path.name for path in work_dir.glob(f"{files.PREFIX}*")),
    )


def points(work_dir: Path) -> list[dict]:
    lines = [
        line
        for path in work_dir.glob("*/vis_data/scalars.json")
        for line in path.read_text().splitlines()
    ]
    whole = [line for line in lines if line.endswith("}")]  # a killed process tears its last one
    return [point for point in map(json.loads, whole) if "accuracy/top1" in point]


def same(one: Any, other: Any) -> bool:
    """Equality of nested values, tensors to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def matrix(
    config: Config, kills: int, seed: int, folder: Path, moments: list[str] | None = None
) -> list[dict]:
    """One row for every moment: kills, runs, losses, and how the runs ended."""
    began = time.monotonic()
    status = run(config, folder / "unbroken")
    seconds = time.monotonic() - began
    if status:
        sys.exit(f"the uninterrupted run ended with {status}; see {folder}/unbroken.log")
    wanted = ending(folder / "unbroken")
    draw = random.Random(seed)
    names = moments or list(MOMENTS)
    rows = {name: dict(moment=name, kills=0, runs=0, lost=0, stuck=0, equal=0) for name in names}
    attempt = 0
    with tqdm(total=kills, unit="kill", desc="killed") as bar:
        while bar.n < kills:
            name = names[attempt % len(names)]
            attempt += 1
            done = one_run(config, MOMENTS[name], draw, folder / f"run{attempt}", seconds, wanted)
            for key, value in done.items():
                rows[name][key] += value
            bar.update(done["kills"])
            if not done["kills"]:
                bar.write(f"{name}: run {attempt} has no such moment")
                names = [other for other in names if other != name] or sys.exit("no moment left")
    return list(rows.values())


def one_run(
    config: Config,
    moment: str,
    draw: random.Random,
    work_dir: Path,
    seconds: float,
    wanted: dict,
) -> dict:
    """Kill a run at most three times, then let it end."""
    row = dict(kills=0, runs=1, lost=0, stuck=0, equal=0)
    for _ in range(1 if moment == "first" else 3):
        # A run's first write is its first save; later writes are counted from there.
        count = 1 if moment == "first" else draw.randint(2, max(2, wanted["step"] // 3))
        saved_before = bool(whole_checkpoints(work_dir)) if work_dir.exists() else False
        if moment == "time":
            status = run(config, work_dir, seconds=draw.uniform(0, seconds))
        else:
            status = run(config, work_dir, Deadly(moment, count))
        if status == 0:
            break
        if status not in (-signal.SIGKILL, 75):
            row["stuck"] += 1
            return row
        row["kills"] += 1
        if saved_before and not whole_checkpoints(work_dir):
            row["lost"] += 1
    if status != 0:
        status = run(config, work_dir)
    if status != 0:
        row["stuck"] += 1
        return row
    equal = same(ending(work_dir), wanted)
    row["equal"] += int(equal)
    if equal:
        shutil.rmtree(work_dir)
    return row


def table(rows: list[dict]) -> str:
    lines = [
        "| killed | kills | runs | lost | could not resume | equal to the unbroken run |",
        "|---|---|---|---|---|---|",
    ]
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "moment"}
    for row in [*rows, dict(total, moment="all")]:
        equal = f"{row['equal']} of {row['runs']}"
        cells = (row["moment"], row["kills"], row["runs"], row["lost"], row["stuck"], equal)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", help="by default a ViT of three blocks on shapes")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moments", nargs="+", choices=MOMENTS.values(), help="all by default")
    parser.add_argument(
        "--mmengine-alone", action="store_true", help="show what runs lose without our launcher"
    )
    parser.add_argument("--out", help="write the table to this file too (Markdown)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    from tests.reliability.small_run import small_run

    config = Config.fromfile(args.config) if args.config else small_run()
    config.mmengine_alone = args.mmengine_alone
    names = [name for name, kind in MOMENTS.items() if kind in (args.moments or MOMENTS.values())]
    folder = Path(tempfile.mkdtemp(prefix="kill-matrix-"))
    rows = matrix(config, args.kills, args.seed, folder, names)
    print(f"seed {args.seed}\n\n{table(rows)}")
    if args.out:
        files.write_whole(args.out, table(rows) + "\n")
    failed = any(row["lost"] or row["stuck"] or row["equal"] < row["runs"] for row in rows)
    if failed:
        sys.exit(f"the remaining files of the runs are in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
