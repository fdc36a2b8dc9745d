"""Builds a config, takes two steps, and describes the run."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from .made_up_data import replace_missing
from .run_summary import summary

_CPU_BATCH = 4


class Stopped(Exception):
    """Ends a dry run after its last step."""


class TwoSteps(Hook):
    """Notes the losses and the speed of two steps, and then ends the run.

    Attributes:
        logged: the losses of each step, as text.
        images_per_second: speed of the last step, of all ranks together.
        batch: images in a step of one rank.
        size: of an image, such as '3×224×224'.
    """

    def __init__(self) -> None:
        self.logged: list[str] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if not torch.cuda.is_available():
            for key, values in data_batch.items():
                data_batch[key] = values[:_CPU_BATCH]
        images = data_batch["inputs"]
        self.batch, self.size = len(images), "×".join(map(str, images[0].shape))
        self._started = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        values = {name: float(value.detach().float().mean()) for name, value in outputs.items()}
        seconds = time.perf_counter() - self._started  # the device has finished
        self.images_per_second = self.batch * get_world_size() / seconds
        self.logged.append(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise FloatingPointError(
                f"step {len(self.logged)}: {', '.join(bad)} is NaN or infinite; losses of each "
                f"step: {self.logged}"
            )
        if len(self.logged) == 2 or runner.iter + 1 == runner.max_iters:
            raise Stopped


class Tried(NamedTuple):
    """The result of a dry run: the lines of its report, and the files that a run would miss."""

    lines: list[str]
    missing: list[str]


class _Unwritten(Config):
    """A config without the text that a run logs: formatting it takes seconds, several times."""

    @property
    def pretty_text(self) -> str:
        return ""


def dry_run(cfg: Config, images_per_second: float | None = None) -> Tried:
    """Build everything that a run builds, take two steps, and describe the run.

    Nothing is written. A step has the config's batch on a GPU, and four images of it on a CPU.
    Missing files are reported and replaced: a teacher gets random weights, a data set made-up
    images of the same number, which pass through its own pipeline.

    Args:
        cfg: the config that tools/train.py passes to a Runner.
        images_per_second: speed of all ranks together; by default the speed of these two steps.

    Raises:
        Exception: any error that a run would raise.
    """
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    cfg = _Unwritten(cfg.to_dict())
    missing = replace_missing(cfg)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        cfg.update(work_dir=folder, log_level="ERROR")
        cfg.visualizer = dict(type="Visualizer", vis_backends=None)
        if cfg.train_dataloader.dataset.get("kept_maps"):  # made-up images must not claim it
            cfg.train_dataloader.dataset.update(kept_maps=f"{folder}/maps", views=1)
        runner = Runner.from_cfg(cfg)
        steps = TwoSteps()
        runner.register_hook(steps, priority="LOWEST")
        with suppress(Stopped):
            runner.train()
        rows = summary(runner, steps, images_per_second)
    rows += [("missing", line) for line in missing or ["nothing"]]
    names = [name for name, _ in rows]
    shown = [name if name != before else "" for before, name in zip(["", *names], names)]
    return Tried([f"{name:14} {words}" for name, (_, words) in zip(shown, rows)], missing)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence MMEngine's log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
