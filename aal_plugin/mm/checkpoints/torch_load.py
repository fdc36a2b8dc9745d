"""Makes MMEngine load checkpoints as data only: nothing in a file runs as code.

`torch.load(weights_only=True)` rejects the log history in every MMEngine checkpoint. This module
extends torch's allow-list by exactly the classes that MMEngine saves. MMEngine's resume also
evaluates `meta['config']` as Python; our checkpoints do not have that key, and it is dropped.
"""

from __future__ import annotations

import functools
import os
import pickle
import re
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

from .checkpoint_file import check_checkpoint, is_safetensors

_numpy: Any
try:
    _numpy = import_module("numpy._core.multiarray")
except ImportError:  # NumPy 1
    _numpy = import_module("numpy.core.multiarray")


_LOADING = threading.RLock()  # a loader may call another one
_METHODS = {
    HistoryBuffer: ("min", "max", "current", "mean"),
    OneCycleParamScheduler: ("_annealing_cos", "_annealing_linear"),
}


def _known_method(owner: Any, name: str) -> Any:
    """Replaces `getattr`, which Python uses to pickle the methods that these classes store."""
    if isinstance(owner, type) and name in _METHODS.get(owner, ()):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"rejected: attribute {name!r} of {owner!r}")


def allow_mmengine_checkpoints() -> None:
    """Extend torch's allow-list; called when this package is imported, and before each file.

    The loaders of timm and of the onedl fork remove their part of the list after they load a file,
    even if it was on the list before.
    """
    torch.serialization.add_safe_globals(_ALLOWED)


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Replaces MMEngine's loader of that name: loads complete files that hold only data.

    Raises:
        FileNotFoundError, PermissionError, ValueError: see `check_checkpoint`. Also ValueError if
            the file has Python objects that are not on the allow-list.
    """
    check_checkpoint(filename)
    filename = os.path.expanduser(filename)
    if is_safetensors(filename):
        from safetensors.torch import load_file

        return load_file(filename)
    try:
        return torch.load(filename, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        rejected = re.search(r"GLOBAL (\S+)", str(error))  # the function that the file calls
        raise ValueError(
            f"checkpoint {filename!r} holds more than weights and plain data"
            f"{f' ({rejected.group(1)})' if rejected else ''}, so it is not loaded"
        ) from error


def only_data(load: Callable) -> Callable:
    """Wrap a loader of MMEngine so that it runs no code from the file and drops its config.

    Threads load one after another: the allow-list and the environment are those of the process.
    """

    @functools.wraps(load)  # MMEngine logs its name
    def loaded(filename: str, map_location: Any = None, *args: Any, **options: Any) -> Any:
        with _LOADING, _weights_only():
            allow_mmengine_checkpoints()  # another loader may have removed them
            checkpoint = load(filename, map_location, *args, **options)
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict):
            checkpoint["meta"].pop("config", None)
        return checkpoint

    return loaded


@contextmanager
def _weights_only() -> Iterator[None]:
    """Force weights_only in every torch.load, even with weights_only=False."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before: str | None = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def guard_loaders() -> None:
    """Wrap MMEngine's loader of every scheme in `only_data`; called on import of this package."""
    for prefix, load in list(CheckpointLoader._schemes.items()):
        load = load_from_local if load.__name__ == "load_from_local" else load
        CheckpointLoader.register_scheme(prefix, only_data(load), force=True)


_ALLOWED: list[Any] = [
    *_METHODS,
    Namespace,  # timm's checkpoints store the options of their run: plain values
    (_known_method, "builtins.getattr"),
    np.ndarray,
    np.dtype,
    (_numpy._reconstruct, "numpy.core.multiarray._reconstruct"),
    (_numpy._reconstruct, "numpy._core.multiarray._reconstruct"),
    (_numpy.scalar, "numpy.core.multiarray.scalar"),
    (_numpy.scalar, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64)),
]
allow_mmengine_checkpoints()
guard_loaders()
