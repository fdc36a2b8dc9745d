"""Trains several configs side by side and keeps the result of each finished run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from tqdm import tqdm

from aal_plugin.files import write_whole
from aal_plugin.process import PARENT
from tools.machine import cores

from .weight_sums import weights_of

_STEP = re.compile(r"Epoch\(train\) +\[(\d+)\]\[ *(\d+)/(\d+)\]")
_RUNNING: set[subprocess.Popen] = set()


@dataclass
class Training:
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


def run_trainings(
    trainings: Sequence[Training],
    train: Path,
    jobs: int,
    finished: Callable[[Training, dict], None] | None = None,
) -> list[dict]:
    """Run trainings, `jobs` at a time, each with an equal share of the cores.

    One that already finished with the same config and weights does not run again. The progress
    bars show the epoch, the remaining time and the last top-1, and above them, with more than
    `jobs` trainings, those that are finished and the remaining time of all.

    Args:
        train: the training script, tools/train.py.
        finished: called with each training and its result as soon as it is finished, from the
            thread that ran it.

    Returns:
        For each training: top1 (%), seconds, the last checkpoint, the config, and the metrics of
        the test split if it was measured.

    Raises:
        RuntimeError: a run failed, or logged no top-1; names its log.
    """

    def work(training: Training) -> dict:
        result = _run(training, train, threads_of(jobs))
        if finished is not None:
            finished(training, result)
        whole.update()
        return result

    whole = tqdm(
        total=len(trainings),
        desc="all runs",
        leave=False,
        disable=len(trainings) <= jobs,
        bar_format="{desc} {n}/{total} |{bar:24}| {elapsed} < {remaining}",
    )
    with whole, ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(work, trainings))
        except RuntimeError:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:  # Ctrl-C: stop the running trainings too
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_RUNNING):
                process.terminate()
            raise


def threads_of(jobs: int) -> str:
    """Threads of one of `jobs` trainings side by side: OMP_NUM_THREADS, or its share of cores."""
    return os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // jobs))


def _run(training: Training, train: Path, threads: str) -> dict:
    done = training.work_dir / "result.json"
    config, weights = training.cfg.pretty_text, weights_of(training.cfg)
    if done.is_file():
        result = json.loads(done.read_text())
        same = (result["config"], result.get("weights")) == (config, weights)
        if same and (not training.test or "test" in result):
            tqdm.write(f"{training.name}: already done in an earlier run")
            return result
    started = time.time()
    log = _train(training, train, threads, started)
    top1 = _last_top1(training, started)
    if top1 is None:
        raise RuntimeError(
            f"{training.name} logged no accuracy/top1, which its config must measure with "
            f"val_evaluator=dict(type='Accuracy'); the full log is {log}"
        )
    result = dict(
        top1=top1,
        seconds=time.time() - started,
        checkpoint=str(training.work_dir / f"epoch_{training.cfg.train_cfg.max_epochs}.pth"),
        config=config,
        weights=weights,
    )
    if training.test:
        result["test"] = _tested(training, started)
    write_whole(done, json.dumps(result))
    return result


def _train(training: Training, train: Path, threads: str, started: float) -> Path:
    """Run the script with a progress bar. Returns its log, work_dir/train.log."""
    training.work_dir.mkdir(parents=True, exist_ok=True)
    config, log_file = training.work_dir / "trial.py", training.work_dir / "train.log"
    training.cfg.dump(config)
    command = [sys.executable, "-W", "ignore", "-u", str(train), str(config)]
    command += ["--test"] * training.test
    environment = {**os.environ, "OMP_NUM_THREADS": threads, PARENT: str(os.getpid())}
    with (
        log_file.open("w", buffering=1) as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process,
        tqdm(
            total=training.cfg.train_cfg.max_epochs,
            desc=training.name,
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
            elif "Epoch(val)" in line and (top1 := _last_top1(training, started)) is not None:
                bar.set_postfix_str(f"top-1 {top1:.1f} %")
    _RUNNING.discard(process)
    if process.returncode:
        tail = "".join(log_file.read_text().splitlines(keepends=True)[-5:])
        raise RuntimeError(f"{tail}\n{training.name} failed; the full log is {log_file}")
    return log_file


def _written(training: Training, pattern: str, since: float) -> Iterator[Path]:
    """Files of the work dir, the newest first, without those of an earlier training."""
    found = sorted(training.work_dir.glob(pattern), reverse=True)
    return (path for path in found if path.stat().st_mtime >= since)


def _last_top1(training: Training, since: float) -> float | None:
    """The last accuracy/top1 in the scalars.json of a training that started at `since`."""
    for path in _written(training, "*/vis_data/scalars.json", since):
        for line in reversed(path.read_text().splitlines()):
            if '"accuracy/top1"' in line and line.endswith("}"):  # the last may be half written
                return float(json.loads(line)["accuracy/top1"])
    return None


def _tested(training: Training, since: float) -> dict[str, float]:
    """The metrics of the test split, from the JSON file of a training that started at `since`."""
    for path in _written(training, "*/*.json", since):
        found = json.loads(path.read_text())
        return {key: value for key, value in found.items() if not key.endswith("time")}
    raise RuntimeError(f"{training.name} wrote no metrics of its test split: {training.work_dir}")
