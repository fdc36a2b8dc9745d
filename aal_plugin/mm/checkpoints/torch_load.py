"""How every checkpoint is read that goes through MMEngine: nothing in it runs as code.

`torch.load(weights_only=True)` refuses the log history that every MMEngine checkpoint carries.
What is named here, and nothing else, is allowed besides torch's own list. MMEngine's resume
evaluates `meta['config']` as Python, which nothing here writes: it is dropped.
"""

import functools
import os
import pickle
import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

from .checkpoint_file import check_checkpoint, is_safetensors

try:
    from numpy._core.multiarray import _reconstruct, scalar
except ImportError:  # NumPy 1
    from numpy.core.multiarray import _reconstruct, scalar


_METHODS = {
    HistoryBuffer: ("min", "max", "current", "mean"),
    OneCycleParamScheduler: ("_annealing_cos", "_annealing_linear"),
}


def _known_method(owner: Any, name: str) -> Any:
    """Stands in for `getattr`, with which Python pickles the methods that these two keep."""
    if isinstance(owner, type) and name in _METHODS.get(owner, ()):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"refused: attribute {name!r} of {owner!r}")


def allow_mmengine_checkpoints() -> None:
    """Extend torch's allow-list; done when this package is imported, and before each file.

    The loaders of timm and of the onedl fork take their part of the list away again when they have
    loaded a file, though it was there before.
    """
    torch.serialization.add_safe_globals(_ALLOWED)


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """MMEngine's loader of that name, for a file that is whole and holds nothing but data.

    Raises:
        FileNotFoundError, PermissionError, ValueError: see `check_checkpoint`; or it holds
            Python objects beyond the allow-list.
    """
    check_checkpoint(filename)
    filename = os.path.expanduser(filename)
    if is_safetensors(filename):
        from safetensors.torch import load_file

        return load_file(filename)
    try:
        return torch.load(filename, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))  # what the file would have called
        raise ValueError(
            f"checkpoint {filename!r} holds more than weights and plain data"
            f"{f' ({refused.group(1)})' if refused else ''}; it is not loaded"
        ) from error


def only_data(load: Callable) -> Callable:
    """A loader of MMEngine's that unpickles no code, and whose checkpoint brings no config."""

    @functools.wraps(load)  # MMEngine logs its name
    def loaded(filename: str, map_location: Any = None, *args: Any, **options: Any) -> Any:
        allow_mmengine_checkpoints()  # again: see there
        with _weights_only():
            checkpoint = load(filename, map_location, *args, **options)
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict):
            checkpoint["meta"].pop("config", None)
        return checkpoint

    return loaded


@contextmanager
def _weights_only() -> Iterator[None]:
    """Hold every torch.load to weights_only, even one that was told otherwise."""
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
    """Put `only_data` around the loader of every scheme; done when this package is imported."""
    for prefix, load in list(CheckpointLoader._schemes.items()):
        load = load_from_local if load.__name__ == "load_from_local" else load
        CheckpointLoader.register_scheme(prefix, only_data(load), force=True)


_ALLOWED = [
    *_METHODS,
    Namespace,  # timm's checkpoints hold the options of their run: plain values
    (_known_method, "builtins.getattr"),
    np.ndarray,
    np.dtype,
    (_reconstruct, "numpy.core.multiarray._reconstruct"),
    (_reconstruct, "numpy._core.multiarray._reconstruct"),
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64)),
]
allow_mmengine_checkpoints()
guard_loaders()
