"""What `tools/train.py` and `tools/test.py` add to MMPretrain's own scripts of those names."""

from __future__ import annotations

import logging
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Optional

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import get_installed_path


def mmpretrain_script(name: str) -> ModuleType:
    """MMPretrain's installed `tools/<name>.py` as a module, with its parse_args and merge_args."""
    path = Path(get_installed_path("mmpretrain")) / ".mim" / "tools" / f"{name}.py"
    if not path.is_file():  # a checkout of MMPretrain, installed in place
        path = path.parents[3] / "tools" / f"{name}.py"
    spec = spec_from_file_location(f"mmpretrain_tools_{name}", path)
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def use_cpu_ranks(cfg: Config) -> None:
    """Let `--launcher pytorch` run without a GPU: gloo, and DDP without device ids.

    MMEngine would call `torch.cuda.set_device`; it leaves a process group alone that is there.
    """
    if cfg.launcher != "pytorch" or torch.cuda.is_available():
        return
    torch.distributed.init_process_group("gloo")
    wrapper = cfg.get("model_wrapper_cfg") or dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def resume_from_whole_checkpoint(cfg: Config) -> None:
    """For a plain `--resume`: name the newest checkpoint of the work dir that is whole.

    A run killed while it saves leaves half a file, or an empty `last_checkpoint`. With no
    checkpoint at all training starts at epoch 0, as in MMPretrain.

    Raises:
        ValueError: there are checkpoints, and none is whole.
    """
    if not cfg.get("resume") or cfg.get("load_from"):
        return
    found = sorted(Path(cfg.work_dir).glob("*_*.pth"), key=_saved_at, reverse=True)
    found = [path for path in found if not path.name.startswith("best_")]
    whole = next((path for path in found if zipfile.is_zipfile(path)), None)
    if whole is None:
        if found:
            raise ValueError(
                f"--resume: no checkpoint in {cfg.work_dir} is whole "
                f"({', '.join(path.name for path in found)}); remove them to start anew"
            )
        return
    for path in found[: found.index(whole)]:
        print_log(f"{path} is cut short and passed over", logger="current", level=logging.WARNING)
    cfg.load_from = str(whole)


def _saved_at(path: Path) -> int:
    """The epoch or iteration in `epoch_12.pth`, `iter_500.pth`."""
    number = path.stem.rsplit("_", 1)[-1]
    return int(number) if number.isdigit() else -1


def check_checkpoint(path: Optional[str]) -> None:
    """Raise FileNotFoundError or ValueError unless `path` is a whole local checkpoint or a URL."""
    if path is None or "://" in path:
        return
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {path!r}: no such file")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"checkpoint {path!r} cannot be read; is it whole?")


def end_at_nan(cfg: Config) -> None:
    """Give a run a `FiniteLossHook`, unless its config has one."""
    hooks = [*(cfg.get("custom_hooks") or []), *(cfg.get("default_hooks") or {}).values()]
    if not any((hook or {}).get("type") == "FiniteLossHook" for hook in hooks):
        cfg.setdefault("default_hooks", {})["finite"] = dict(type="FiniteLossHook")
