"""Functions that `tools/train.py` and `tools/test.py` add to MMPretrain's scripts."""

from __future__ import annotations

import functools
import logging
import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import get_installed_path

from aal_plugin.mm.checkpoints.checkpoint_file import check_checkpoint
from aal_plugin.mm.configs.reading import read_config
from aal_plugin.mm.configs.types import hooks_of, type_name


def mmpretrain_script(name: str) -> Any:
    """MMPretrain's `tools/<name>.py` as a module, with its functions parse_args and merge_args."""
    path = Path(get_installed_path("mmpretrain")) / ".mim" / "tools" / f"{name}.py"
    if not path.is_file():  # an editable install of MMPretrain
        path = path.parents[3] / "tools" / f"{name}.py"
    spec = spec_from_file_location(f"mmpretrain_tools_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"MMPretrain's script {path}: no such file")
    script: Any = module_from_spec(spec)
    spec.loader.exec_module(script)
    script.Config = SimpleNamespace(fromfile=read_config)
    script.parse_args = functools.partial(_parsed, script.parse_args)
    return script


def _parsed(parse_args: Callable[[], Namespace]) -> Namespace:
    try:
        return parse_args()
    except ValueError as error:  # from DictAction
        raise ValueError(f"--cfg-options: {error}; give KEY=VALUE pairs") from error


def use_cpu_ranks(cfg: Config) -> None:
    """Let `--launcher pytorch` run without a GPU: gloo, and DDP without device ids.

    MMEngine would call `torch.cuda.set_device`. It does not, if a process group exists already.
    """
    if cfg.launcher != "pytorch" or torch.cuda.is_available():
        return
    torch.distributed.init_process_group("gloo")
    wrapper = cfg.get("model_wrapper_cfg") or dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    if type_name(wrapper).endswith("DistributedDataParallel"):
        cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def resume_from_whole_checkpoint(cfg: Config) -> None:
    """For `--resume` without a file: choose the checkpoint of the work dir to continue from.

    This is the file that `last_checkpoint` names, if it is complete; otherwise the latest complete
    checkpoint of the training loop in use. If there is none, training starts at epoch 0.
    """
    if not cfg.get("resume") or cfg.get("load_from"):
        return
    for path in _candidates(cfg):
        try:
            check_checkpoint(str(path))
        except (OSError, ValueError) as error:
            _warn(f"--resume: {error}; skipped")
        else:
            cfg.load_from = str(path)
            return
    _warn(f"--resume: no complete checkpoint in {cfg.work_dir}; training starts at epoch 0")
    cfg.resume = False


def _candidates(cfg: Config) -> Iterator[Path]:
    """The file that `last_checkpoint` names, then the loop's numbered files, newest first."""
    folder = Path(cfg.work_dir)
    hook = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    if hook.get("out_dir"):
        folder = Path(hook["out_dir"]) / folder.name
    last = Path(cfg.work_dir) / "last_checkpoint"
    named = last.read_text(errors="replace").strip() if last.is_file() else ""
    if named:
        # If the work dir was moved, the file is in its new place.
        yield next((p for p in (Path(named), folder / Path(named).name) if p.exists()), Path(named))
    loop = cfg.get("train_cfg") or {}
    by_epoch = loop.get("by_epoch", "max_iters" not in loop)
    name = hook.get("filename_tmpl") or ("epoch_{}.pth" if by_epoch else "iter_{}.pth")
    pattern = re.compile(re.escape(name).replace(r"\{\}", r"(\d+)"))
    numbered = {path: pattern.fullmatch(path.name) for path in folder.glob("*")}
    found = [(int(match.group(1)), path) for path, match in numbered.items() if match]
    yield from (path for _, path in sorted(found, reverse=True) if path.name != Path(named).name)


def keep_checkpoints_whole(cfg: Config) -> None:
    """Replace a config's CheckpointHook by SafeCheckpointHook with the same arguments."""
    hooks = cfg.get("default_hooks") or {}
    hook = hooks.get("checkpoint", dict(type="CheckpointHook", interval=1))
    if type_name(hook) == "CheckpointHook":
        cfg.default_hooks = dict(hooks, checkpoint=dict(hook, type="SafeCheckpointHook"))


def save_shards_whole(cfg: Config) -> None:
    """Replace a config's FSDPStrategy by WholeFSDPStrategy with the same arguments."""
    if type_name(cfg.get("strategy")) == "FSDPStrategy":
        cfg.strategy.type = "WholeFSDPStrategy"


def resume_exactly(cfg: Config) -> None:
    """Make a run that is stopped at any step and resumed equal to an uninterrupted run.

    This replaces MMEngine's loops by their resumable form and adds `RandomStateHook`, and
    `StopSignalHook` if checkpoints are saved by SafeCheckpointHook. Other loops and hooks do not
    change.
    """
    loop: Any = cfg.get("train_cfg") or {}
    by_epoch = loop.get("by_epoch", "max_iters" not in loop)
    kinds = {"": by_epoch, "EpochBasedTrainLoop": True, "IterBasedTrainLoop": False}
    if loop and type_name(loop) in kinds:
        loop.type = "ResumableEpochLoop" if kinds[type_name(loop)] else "ResumableIterLoop"
        loop.pop("by_epoch", None)  # MMEngine accepts either this or the type
    hooks = dict(cfg.get("default_hooks") or {})
    hooks.setdefault("random_states", dict(type="RandomStateHook"))
    if type_name(hooks.get("checkpoint")) == "SafeCheckpointHook":
        hooks.setdefault("stop_signal", dict(type="StopSignalHook"))
    cfg.default_hooks = hooks


def check_run(cfg: Config) -> None:
    """Add a `FiniteLossHook` and a `FitCheckHook`, unless the config has them."""
    present = {type_name(hook) for _, hook in hooks_of(cfg)}
    for name, kind in (("finite", "FiniteLossHook"), ("fit", "FitCheckHook")):
        if kind not in present:
            cfg.default_hooks = dict(cfg.get("default_hooks") or {}, **{name: dict(type=kind)})


def _warn(words: str) -> None:
    print_log(words, logger="current", level=logging.WARNING)
