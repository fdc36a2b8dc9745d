"""What AAL adds to the steps of a recipe: loader, step and optimizer, live teacher and kept maps.

python -m tools.bench.recipe configs/fashion/vit_fashion-500.py \
        configs/fashion/aal_vit_fashion-500.py
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from aal_plugin.mm.runs.random_states import seed_every_image

from .timing import Step, Timing, interleave

CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)


def recipe(plain: str, aal: str, rounds: int, repeat: int, clock: str = "cpu") -> dict[str, Any]:
    """Seconds of a step of the plain config and of the AAL config, and their ratios in each round.

    Args:
        plain, aal: config files.
        repeat: steps in one measurement.
        clock: 'cpu', processor seconds of the training process, or 'wall'.
    """
    with TemporaryDirectory(prefix="aal-kept-maps-") as folder:
        kept, live = _config(aal, folder), _config(aal, folder)
        dataset = kept.train_dataloader.dataset
        if dataset.type == "RepeatedViews":
            dataset = dataset.dataset
        live.train_dataloader.dataset = dataset
        kept.train_dataloader.dataset = dict(
            type="RepeatedViews", dataset=dataset, views=1, kept_maps=f"{folder}/maps"
        )
        steps = {
            "student step": _step(_config(plain, folder)),
            "aal step": _step(live),
            "aal step: kept maps": _step(kept, passes=1),
        }
        timings = interleave(steps, rounds, repeat=repeat, clock=CLOCKS[clock])
    found: dict[str, Any] = {name: timing.seconds for name, timing in timings.items()}
    return dict(clock=clock, seconds=found, **ratios(found))


def ratios(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians and quartiles of the ratios to the student's step within each round."""
    found = {}
    for name, over in seconds.items():
        if name != "student step":
            each = [mine / own for mine, own in zip(over, seconds["student step"])]
            ratio = Timing(each)
            found[name] = dict(ratio=ratio.median, quartiles=ratio.spread())
    return dict(ratios=found)


def _config(file: str, folder: str) -> Config:
    cfg = Config.fromfile(file)
    cfg.update(work_dir=f"{folder}/run", log_level="ERROR", val_cfg=None, val_dataloader=None)
    cfg.update(val_evaluator=None, test_cfg=None, test_dataloader=None, test_evaluator=None)
    cfg.visualizer = dict(type="Visualizer")
    if cfg.model.get("teacher"):  # the cost does not depend on the weights
        cfg.model.teacher.update(checkpoint=None, allow_random_weights=True)
    cfg.experiment_name = f"recipe-{time.perf_counter_ns()}"
    return cfg


def _step(cfg: Config, passes: int = 0) -> Step:
    """One training step with its batch; the data set was shown `passes` times before."""
    runner = Runner.from_cfg(cfg)
    loader = runner.build_dataloader(cfg.train_dataloader, seed=0)
    seed_every_image(loader, lambda: (0, 0, 0))  # as our launchers do
    optimizer = runner.build_optim_wrapper(cfg.optim_wrapper)
    batches = _endless(loader)
    model: Any = runner.model.train()

    def step() -> None:
        model.train_step(next(batches), optimizer)

    for _ in range(passes * len(loader)):
        step()
    return step


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def main() -> None:
    from tools.machine import about

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plain")
    parser.add_argument("aal")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--json", help="write the results to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = recipe(args.plain, args.aal, args.rounds, args.repeat, args.clock)
    for name, values in found["seconds"].items():
        print(f"{name:20} {1e3 * Timing(values).median:8.1f} ms")
    for name, row in found["ratios"].items():
        first, third = row["quartiles"]
        print(f"{name} / student step: {row['ratio']:.2f} ({first:.2f}–{third:.2f})")
    if args.json:
        command = shlex.join(["python -m tools.bench.recipe", *sys.argv[1:]])
        found.update(command=command, **about("cpu"))
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
