"""MMPretrain's own scripts, which `tools/train.py` and `tools/test.py` build on."""

from __future__ import annotations

import functools
from argparse import Namespace
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mmengine.config import Config
from mmengine.utils import get_installed_path

from aal_plugin.mm.configs.reading import read_config


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


def read_for_training(script: Any, args: Namespace) -> Config:
    """The config of MMPretrain's train.py: the file with its options.

    The script sets persistent_workers=True where the config does not set it. Without workers, torch
    rejects that, so it stays False there.
    """
    cfg = read_config(args.config)
    loaders = ("train_dataloader", "val_dataloader", "test_dataloader")
    unset = [key for key in loaders if "persistent_workers" not in (cfg.get(key) or {})]
    cfg = script.merge_args(cfg, args)
    for key in unset:
        asked = f"{key}.persistent_workers" in (args.cfg_options or {})
        if cfg.get(key) and not cfg[key].get("num_workers") and not asked:
            cfg[key].persistent_workers = False
    return cfg


def _parsed(parse_args: Callable[[], Namespace]) -> Namespace:
    try:
        return parse_args()
    except ValueError as error:  # from DictAction
        raise ValueError(f"--cfg-options: {error}; give KEY=VALUE pairs") from error
