"""Builds a config, takes two steps, and describes the run."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from huggingface_hub import constants
from huggingface_hub.utils import get_session
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from aal_plugin.mm.hooks.bare_model import bare_model
from aal_plugin.mm.hooks.lambda_decay_hook import LambdaDecayHook

from .made_up_data import replace_missing, without_download
from .run_summary import Steps, summary

_CPU_BATCH = 4


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

    Nothing is written. A step has the config's batch size on a GPU, and four images on a CPU.
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
    with tempfile.TemporaryDirectory() as folder, _quiet(), _one_try_of_a_download():
        cfg.update(work_dir=folder, log_level="ERROR")
        cfg.visualizer = dict(type="Visualizer", vis_backends=None)
        if cfg.train_dataloader.dataset.get("kept_maps"):  # made-up images must not claim it
            cfg.train_dataloader.dataset.update(kept_maps=f"{folder}/maps", views=1)
        for _ in range(3):  # the weights of the teacher may be missing, and those of the backbone
            try:
                runner = _build(cfg)
                steps = _two_steps(runner)
                break
            except (ValueError, OSError) as error:
                missing.append(without_download(cfg, error))
    rows = summary(runner, steps, images_per_second)
    rows += [("missing", line) for line in missing or ["nothing"]]
    names = [name for name, _ in rows]
    shown = [name if name != before else "" for before, name in zip(["", *names], names)]
    return Tried([f"{name:14} {words}" for name, (_, words) in zip(shown, rows)], missing)


def _build(cfg: Config) -> Runner:
    """A Runner with everything that `train` builds, after the same hook calls."""
    runner = Runner.from_cfg(cfg)
    runner._init_model_weights()
    getattr(bare_model(runner.model), "teacher", None)  # with its weights
    runner._train_loop = runner.build_train_loop(cfg.train_cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, cfg.get("auto_scale_lr"))
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    if runner._val_loop is not None:
        runner._val_loop = runner.build_val_loop(runner._val_loop)
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
    size = "×".join(map(str, images[0]["inputs"].shape))
    return Steps(logged, batch * get_world_size() / seconds, batch, size)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence MMEngine's log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _one_try_of_a_download() -> Iterator[None]:
    """Let downloads fail at once if the hub does not answer; it would retry for a minute."""
    before = constants.HF_HUB_OFFLINE
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # each version of the hub has its own
        constants.HF_HUB_OFFLINE = True  # files that were downloaded before are still found
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
