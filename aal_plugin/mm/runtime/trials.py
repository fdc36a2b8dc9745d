"""Trains several configs and seeds in parallel and stores the result of each finished run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from mmengine.config import Config
from tqdm import tqdm

from aal_plugin.files import write_whole
from aal_plugin.mm.checkpoints.weight_sums import weights_of
from aal_plugin.process import PARENT

_STEP = re.compile(r"Epoch\(train\) +\[(\d+)\]\[ *(\d+)/(\d+)\]")
_RUNNING: set[subprocess.Popen] = set()


@dataclass
class Trial:
    """A training run.

    Attributes:
        name: for the progress bar.
        cfg: its config, with a `work_dir`.
        test: measure the test split after the last epoch.
    """

    name: str
    cfg: Config
    test: bool = False

    @property
    def work_dir(self) -> Path:
        return Path(self.cfg.work_dir)


def run_trials(
    trials: Sequence[Trial],
    train: Path,
    jobs: int,
    finished: Callable[[Trial, dict], None] | None = None,
) -> list[dict]:
    """Run trials, `jobs` at a time, each with an equal share of the cores.

    A trial that already finished with the same config and weights does not run again. The progress
    bars show the epoch, the remaining time and the last top-1, and below them, with more than
    `jobs` trials, the finished trials and the remaining time of all. OMP_NUM_THREADS, if set, is
    the number of threads of each training.

    Args:
        train: the training script, tools/train.py.
        finished: called with each trial and its result as soon as it is finished, from the thread
            that ran it.

    Returns:
        For each trial: top1 (%), seconds, the last checkpoint, the config, and the metrics of the
        test split if it was measured.

    Raises:
        RuntimeError: a run failed, or logged no top-1; names its log.
    """
    threads = threads_of(jobs)
    rows: SimpleQueue = SimpleQueue()
    for row in range(jobs):
        rows.put(row)

    def work(trial: Trial) -> dict:
        row = rows.get()
        try:
            result = _run(trial, train, threads, row)
            if finished is not None:
                finished(trial, result)
            whole.update()
            return result
        finally:
            rows.put(row)

    whole = tqdm(
        total=len(trials),
        desc="all runs",
        position=jobs,
        leave=False,
        disable=len(trials) <= jobs,
        bar_format="{desc} {n}/{total} |{bar:24}| {elapsed} < {remaining}",
    )
    with whole, ThreadPoolExecutor(jobs) as pool, _ended_by_sigterm():
        try:
            return list(pool.map(work, trials))
        except RuntimeError:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:  # Ctrl-C, SIGTERM: stop the running trainings too
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_RUNNING):
                process.terminate()
            raise


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that `finally` blocks run as after Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(trial: Trial, train: Path, threads: str, row: int) -> dict:
    done = trial.work_dir / "result.json"
    weights = weights_of(trial.cfg)
    if done.is_file():
        result = json.loads(done.read_text())
        same = (result["config"], result.get("weights")) == (trial.cfg.pretty_text, weights)
        if same and (not trial.test or "test" in result):
            tqdm.write(f"{trial.name}: already done in an earlier run")
            return result
    started = time.time()
    epochs = trial.cfg.train_cfg.max_epochs
    result = dict(
        top1=_train(trial, train, threads, row),
        **(dict(test=_tested(trial, started)) if trial.test else {}),
        seconds=time.time() - started,
        checkpoint=str(trial.work_dir / f"epoch_{epochs}.pth"),
        config=trial.cfg.pretty_text,
        weights=weights,
    )
    write_whole(done, json.dumps(result))
    return result


def _train(trial: Trial, train: Path, threads: str, row: int) -> float:
    """Run the script with its log in work_dir/train.log and a progress bar in `row`.

    Returns:
        The last top-1 in %.
    """
    trial.work_dir.mkdir(parents=True, exist_ok=True)
    started = time.time()
    config, log_file = trial.work_dir / "trial.py", trial.work_dir / "train.log"
    trial.cfg.dump(config)
    command = [sys.executable, "-W", "ignore", "-u", str(train), str(config)]
    command += ["--test"] * trial.test
    environment = {**os.environ, "OMP_NUM_THREADS": threads, PARENT: str(os.getpid())}
    with (
        log_file.open("w", buffering=1) as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process,
        tqdm(
            total=trial.cfg.train_cfg.max_epochs,
            desc=trial.name,
            position=row,
            leave=False,
            bar_format="{desc} {percentage:3.0f}%|{bar:24}| {elapsed} < {remaining}{postfix}",
        ) as bar,
    ):
        _RUNNING.add(process)
        for line in process.stdout or ():
            log.write(line)
            if step := _STEP.search(line):
                epoch, batch, batches = map(int, step.groups())
                bar.n = epoch - 1 + batch / batches
                bar.refresh()
            elif "Epoch(val)" in line and (top1 := _last_top1(trial.work_dir, started)) is not None:
                bar.set_postfix_str(f"top-1 {top1:.1f} %")
    _RUNNING.discard(process)
    if process.returncode:
        tail = "".join(log_file.read_text().splitlines(keepends=True)[-5:])
        raise RuntimeError(f"{tail}\n{trial.name} failed; the full log is {log_file}")
    top1 = _last_top1(trial.work_dir, started)
    if top1 is None:
        raise RuntimeError(
            f"{trial.name} logged no accuracy/top1, which its config must measure with "
            f"val_evaluator=dict(type='Accuracy'); the full log is {log_file}"
        )
    return top1


def _last_top1(work_dir: Path, since: float) -> float | None:
    """The last accuracy/top1 in the scalars.json of a training that started at `since`."""
    found = None
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        if path.stat().st_mtime < since:  # from an earlier training
            continue
        for line in path.read_text().splitlines():
            if '"accuracy/top1"' in line and line.endswith("}"):  # the last may be half written
                found = float(json.loads(line)["accuracy/top1"])
    return found


def _tested(trial: Trial, since: float) -> dict[str, float]:
    """The metrics of the test split, from the JSON file of a training that started at `since`."""
    for path in sorted(trial.work_dir.glob("*/*.json"), reverse=True):
        if path.stat().st_mtime >= since:
            found = json.loads(path.read_text())
            return {key: value for key, value in found.items() if not key.endswith("time")}
    raise RuntimeError(f"{trial.name} wrote no metrics of its test split into {trial.work_dir}")


def threads_of(jobs: int) -> str:
    """Threads of one of `jobs` trainings side by side: OMP_NUM_THREADS, or its share of cores."""
    return os.environ.get("OMP_NUM_THREADS") or str(max(1, _cores() // jobs))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
