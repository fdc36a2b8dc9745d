"""Puts the parts of this room into a config, and switches them on in a process."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from aal_plugin.mm.configs.types import hooks_of, type_name
from aal_plugin.process import STOP

from .as_data import guard_loaders
from .resuming import resume_from_whole_checkpoint, take_seed_of_checkpoint
from .stopping import spare_workers


def protected(cfg: Config) -> Config:
    """Make a run that is killed or stopped at any moment end like one that is not.

    Other loops, checkpoint hooks and strategies than MMEngine's do not change. Changes `cfg` and
    returns it; a second call changes nothing.
    """
    resume_from_whole_checkpoint(cfg)
    take_seed_of_checkpoint(cfg)
    for _, hook in hooks_of(cfg):
        if type_name(hook) == "EarlyStoppingHook":  # else it counts after the checkpoint is saved
            hook.setdefault("priority", "LOW")
    hooks = dict(cfg.get("default_hooks") or {})
    checkpoint = hooks.get("checkpoint", dict(type="CheckpointHook", interval=1))
    if type_name(checkpoint) == "CheckpointHook":
        hooks["checkpoint"] = checkpoint = dict(checkpoint, type="SafeCheckpointHook")
    hooks.setdefault("exact_resume", dict(type="ExactResumeHook"))
    if type_name(checkpoint) == "SafeCheckpointHook":
        hooks.setdefault("stop_signal", dict(type="StopSignalHook"))
    cfg.default_hooks = hooks
    loop: Any = cfg.get("train_cfg") or {}
    by_epoch = loop.get("by_epoch", "max_iters" not in loop)
    kinds = {"": by_epoch, "EpochBasedTrainLoop": True, "IterBasedTrainLoop": False}
    if loop and type_name(loop) in kinds:
        loop.type = "ResumableEpochLoop" if kinds[type_name(loop)] else "ResumableIterLoop"
        loop.pop("by_epoch", None)  # MMEngine accepts either this or the type
    if type_name(cfg.get("strategy")) == "FSDPStrategy":
        cfg.strategy.type = "WholeFSDPStrategy"
    return checked(cfg)


def checked(cfg: Config) -> Config:
    """What a test needs, too: `FiniteLossHook`, `FitCheckHook`, and ranks without a GPU."""
    present = {type_name(hook) for _, hook in hooks_of(cfg)}
    for name, kind in (("finite", "FiniteLossHook"), ("fit", "FitCheckHook")):
        if kind not in present:
            cfg.default_hooks = dict(cfg.get("default_hooks") or {}, **{name: dict(type=kind)})
    _use_cpu_ranks(cfg)
    return cfg


def _use_cpu_ranks(cfg: Config) -> None:
    """Let `--launcher pytorch` run without a GPU: gloo, and DDP without device ids.

    MMEngine would call `torch.cuda.set_device`. It does not, if a process group exists already.
    """
    if cfg.get("launcher") != "pytorch" or torch.cuda.is_available():
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    wrapper = cfg.get("model_wrapper_cfg") or dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    if type_name(wrapper).endswith("DistributedDataParallel"):
        cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


@functools.cache  # once a process
def switch_on() -> None:
    """Protect this process: files are read as data, signals end it with status 75."""
    guard_loaders()
    spare_workers()
    with suppress(ValueError):  # only the main thread can receive signals
        STOP.listen()


@functools.cache
def protect_every_run() -> None:
    """`switch_on`, and give every Runner that is built from a config a `protected` config."""
    switch_on()
    for kind in (Runner, FlexibleRunner):
        kind.from_cfg = classmethod(_of_protected(kind.from_cfg.__func__))


def _of_protected(build: Any) -> Any:
    return lambda cls, cfg: build(cls, protected(cfg))
