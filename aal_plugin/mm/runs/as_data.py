"""Loads checkpoints as data only: nothing in a file runs as code.

`torch.load(weights_only=True)` rejects the log history in every MMEngine checkpoint. Here torch's
allow-list holds, while a file is read, exactly what MMEngine saves; NumPy's arrays are rebuilt by
functions of this module, which check them. MMEngine's resume also evaluates `meta['config']` as
Python; our checkpoints do not have that key, and it is dropped.
"""

from __future__ import annotations

import functools
import math
import os
import pickle
import re
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

from aal_plugin.checkpoint_file import check_checkpoint, is_safetensors
from aal_plugin.data_only import data_only

_METHODS = {
    HistoryBuffer: ("min", "max", "current", "mean"),
    OneCycleParamScheduler: ("_annealing_cos", "_annealing_linear"),
}


def load_as_data(path: str, map_location: Any = "cpu") -> Any:
    """Load a checkpoint file, or one of MMEngine's URLs.

    Raises:
        FileNotFoundError, PermissionError, ValueError: see `check_checkpoint`. Also ValueError if
            the file has Python objects that are not on the allow-list.
    """
    if "://" not in path:
        return only_data(_load_local)(path, map_location)
    return only_data(CheckpointLoader.load_checkpoint)(path, map_location, logger="silent")


def guard_loaders() -> None:
    """Let MMEngine's own loaders read as data, in this process; called by `protection`."""
    for prefix, load in list(CheckpointLoader._schemes.items()):
        load = _load_local if load.__name__ == "load_from_local" else load
        CheckpointLoader.register_scheme(prefix, only_data(load), force=True)


def only_data(load: Callable) -> Callable:
    """Wrap a loader of MMEngine so that it runs no code from the file and drops its config.

    Threads load one after another.
    """

    @functools.wraps(load)  # MMEngine logs its name
    def loaded(filename: str, map_location: Any = None, *args: Any, **options: Any) -> Any:
        with data_only(_ALLOWED):
            checkpoint = load(filename, map_location, *args, **options)
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get("meta"), dict):
            checkpoint["meta"].pop("config", None)
        return checkpoint

    return loaded


def _load_local(filename: str, map_location: Any = None) -> Any:
    check_checkpoint(filename)
    filename = os.path.expanduser(filename)
    if is_safetensors(filename):
        from safetensors.torch import load_file

        return load_file(filename)
    try:
        return torch.load(filename, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        rejected = re.search(r"GLOBAL (\S+)|(rejected: .*)", str(error))
        raise ValueError(
            f"checkpoint {filename!r} holds more than weights and plain data"
            f"{f' ({rejected[1] or rejected[2]})' if rejected else ''}, so it is not loaded"
        ) from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"checkpoint {filename!r} is not a pickle that torch.save wrote, so it is not loaded "
            f"({type(error).__name__}: {error})"
        ) from error


def _known_method(owner: Any, name: str) -> Any:
    """Replaces `getattr`, which Python uses to pickle the methods that these classes store."""
    if isinstance(owner, type) and name in _METHODS.get(owner, ()):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"rejected: attribute {name!r} of {owner!r}")


class _NumberType:
    """Replaces `numpy.dtype`, which would accept objects, and fields of any size."""

    def __init__(self, name: Any, *flags: Any) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[biufc]\d{1,2}", name):
            raise pickle.UnpicklingError(f"rejected: a NumPy array of type {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        order, *parts = state[1:5]
        if order not in ("<", ">", "|", "=") or parts != [None] * 3:
            raise pickle.UnpicklingError("rejected: a NumPy array of a structured type")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """Replaces `numpy.ndarray`, whose state may claim any shape for any memory."""

    def __new__(cls, *arguments: Any) -> _Array:
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_column, content = state
        whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        typed = isinstance(kind, _NumberType) and type(content) is bytes
        if not whole or not typed or math.prod(shape) * kind.dtype.itemsize != len(content):
            raise pickle.UnpicklingError(f"rejected: a NumPy array of shape {shape!r}")
        plain: Any = (1, shape, kind.dtype, bool(by_column), content)
        super().__setstate__(plain)

    def __reduce_ex__(self, protocol: Any) -> Any:  # it is saved as a plain array
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _empty_array(*arguments: Any) -> _Array:
    """Replaces NumPy's `_reconstruct`."""
    return _Array()


def _number(kind: Any, content: Any) -> Any:
    """Replaces NumPy's `scalar`."""
    right = isinstance(kind, _NumberType) and type(content) is bytes
    if not right or len(content) != kind.dtype.itemsize:
        raise pickle.UnpicklingError("rejected: a NumPy number that is none")
    return np.frombuffer(content, kind.dtype)[0]


_ALLOWED: list[Any] = [
    *_METHODS,
    Namespace,  # timm's checkpoints store the options of their run: plain values
    (_known_method, "builtins.getattr"),
    (_Array, "numpy.ndarray"),
    (_NumberType, "numpy.dtype"),
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")  # NumPy 1 and 2
        for name, function in (("_reconstruct", _empty_array), ("scalar", _number))
    ),
]
