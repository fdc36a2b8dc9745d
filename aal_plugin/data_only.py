"""Lets torch read files as data only, with an allow-list of our own for a while."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from aal_plugin.older_releases import READS_DATA, load_listed

_LOADING = threading.RLock()  # a loader may call another one
_FORCED, _FORBIDDEN = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextmanager
def data_only(listed: Sequence[Any]) -> Iterator[None]:
    """Force weights_only in every torch.load, whatever its caller or the environment says.

    Threads take turns: the allow-list and the environment are those of the process.

    Args:
        listed: what files may name beside tensors: classes, and pairs of an object and the name
            that it stands for. An entry of torch's own allow-list of the same name is left out.
    """
    ours = {_name_of(entry): entry for entry in listed}
    with _LOADING, _forced():
        if not READS_DATA:
            found = {name: e[0] if isinstance(e, tuple) else e for name, e in ours.items()}
            with _loading_by(found):
                yield
            return
        before = torch.serialization.get_safe_globals()
        others = [entry for entry in before if _name_of(entry) not in ours]
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals([*others, *ours.values()])
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


@contextmanager
def _forced() -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in (_FORCED, _FORBIDDEN)}
    os.environ[_FORCED] = "1"
    try:
        yield
    finally:
        del os.environ[_FORCED]
        os.environ.update({name: value for name, value in before.items() if value is not None})


@contextmanager
def _loading_by(found: dict[str, Any]) -> Iterator[None]:
    """Put a reader of our own in for torch's, which it replaces in this context alone."""

    def load(f: Any, map_location: Any = None, *args: Any, **options: Any) -> Any:
        del os.environ[_FORCED]  # it forbids a reader of our own
        try:
            return load_listed(f, map_location, found)
        finally:
            os.environ[_FORCED] = "1"

    before, torch.load = torch.load, load
    try:
        yield
    finally:
        torch.load = before


def _name_of(entry: Any) -> str:
    if isinstance(entry, tuple):
        return str(entry[1])
    return f"{entry.__module__}.{entry.__qualname__}"
