"""Builds a config, takes two steps on made-up images, and describes the run."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from aal_plugin.mm.hooks.bare_model import bare_model
from aal_plugin.mm.hooks.fit_check_hook import check_labels
from aal_plugin.mm.hooks.lambda_decay_hook import LambdaDecayHook

from .made_up_data import Prepared, without_download, without_missing_files
from .run_summary import Steps, summary

_CPU_BATCH = 4


class Tried(NamedTuple):
    """The result of a dry run: the lines of its report, and the files that a run would miss."""

    lines: list[str]
    missing: list[str]


def dry_run(cfg: Config, images_per_second: float | None = None) -> Tried:
    """Build everything that a run builds, take two steps, and describe the run.

    The images are made up and pass through the config's own pipeline. Nothing is written. A step
    has the config's batch size on a GPU, and four images on a CPU. Missing files are reported and
    replaced: a teacher gets random weights, a data set made-up images of the same number.

    Args:
        cfg: the config that tools/train.py passes to a Runner.
        images_per_second: speed of all ranks together; by default the speed of these two steps.

    Raises:
        Exception: any error that a run would raise.
    """
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    prepared = without_missing_files(cfg)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared.cfg.work_dir = folder
        prepared.cfg.log_level = "ERROR"
        prepared.cfg.visualizer = dict(type="Visualizer", vis_backends=None)
        runner = _build(prepared)
        steps = _two_steps(runner)
    rows = summary(runner, steps, images_per_second)
    rows += [("missing", line) for line in prepared.missing or ["nothing"]]
    lines, before = [], None
    for name, words in rows:
        lines.append(f"{name if name != before else '':14} {words}")
        before = name
    return Tried(lines, prepared.missing)


def _build(prepared: Prepared) -> Runner:
    """A Runner with everything that `train` builds, after the same hook calls."""
    cfg = prepared.cfg
    for _ in range(3):  # the weights of the teacher may be missing, and those of the backbone
        try:
            runner = Runner.from_cfg(cfg)
            runner._init_model_weights()
            getattr(bare_model(runner.model), "teacher", None)  # with its weights
            break
        except (ValueError, OSError) as error:
            prepared.missing.append(without_download(cfg, error))
    if prepared.real is not None:
        check_labels("train_dataloader", prepared.real, bare_model(runner.model))
    runner._train_loop = runner.build_train_loop(cfg.train_cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, cfg.get("auto_scale_lr"))
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook("before_run")
    runner.load_or_resume()
    runner.call_hook("before_train")
    return runner


def _two_steps(runner: Runner) -> Steps:
    loader = runner.train_loop.dataloader
    dataset = loader.dataset
    cuda = torch.cuda.is_available()
    batch = loader.batch_size if cuda else min(_CPU_BATCH, loader.batch_size)
    batch = min(batch, len(dataset))
    logged, seconds = [], 0.0
    runner.optim_wrapper.initialize_count_status(runner.model, 0, 2)
    runner.model.train()
    for number in range(2):
        images = [dataset[(number * batch + i) % len(dataset)] for i in range(batch)]
        data = loader.collate_fn(images)
        for hook in runner.hooks:
            if isinstance(hook, LambdaDecayHook):
                hook.before_train_iter(runner, number, data)
        started = time.perf_counter()
        losses = runner.model.train_step(data, optim_wrapper=runner.optim_wrapper)
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        values = {name: float(value.detach().float().mean()) for name, value in losses.items()}
        logged.append(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        bad = [name for name, value in values.items() if not abs(value) < float("inf")]
        if bad:
            raise FloatingPointError(
                f"step {number + 1}: {', '.join(bad)} is NaN or infinite; losses of each step: "
                f"{logged}"
            )
    return Steps(logged, batch * get_world_size() / seconds, batch)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence MMEngine's log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
