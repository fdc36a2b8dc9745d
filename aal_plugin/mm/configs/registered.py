"""The classes that the registries know, and configs written with their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import Registry, root
from mmengine.utils import get_object_from_string
from mmpretrain import registry as mmpretrain_registry


def registered() -> Iterator[tuple[str, Any]]:
    """The name and class of everything in MMEngine's and MMPretrain's registries."""
    # MMPretrain's BATCH_AUGMENTS has no parent in MMEngine.
    known = [*vars(root).values(), *vars(mmpretrain_registry).values()]
    waiting = [value for value in known if isinstance(value, Registry)]
    while waiting:
        registry = waiting.pop()
        yield from registry.module_dict.items()
        waiting += registry.children.values()


def with_names(part: Any) -> Any:
    """A copy of a config part as builtin dicts and lists, with names for classes.

    A pure-Python config holds classes, or MMEngine's LazyObjects of them. They become the names
    under which MMEngine's registries know them, or dotted names. MMPretrain compares some types
    with names, so it does not accept every class.

    >>> from mmpretrain.datasets import CUB
    >>> with_names([dict(type=CUB), dict(type="mmpretrain.datasets.cub.CUB")])
    [{'type': 'CUB'}, {'type': 'CUB'}]
    """
    return _with_names(part, {id(kind): name for name, kind in registered()})


def _with_names(part: Any, names: dict[int, str]) -> Any:
    if isinstance(part, dict):
        return {
            key: _name(value, names) if key == "type" else _with_names(value, names)
            for key, value in dict.items(part)
        }
    if isinstance(part, (list, tuple)):
        return type(part)(_with_names(value, names) for value in part)
    return _name(part, names) if isinstance(part, (type, LazyAttr, LazyObject)) else part


def _name(kind: Any, names: dict[int, str]) -> Any:
    if isinstance(kind, (LazyAttr, LazyObject)):
        kind = kind.build()
    if isinstance(kind, str):
        found = get_object_from_string(kind) if kind.count(".") > 1 else None
        return names.get(id(found), kind)
    if id(kind) in names:
        return names[id(kind)]
    dotted = hasattr(kind, "__module__") and hasattr(kind, "__qualname__")
    return f"{kind.__module__}.{kind.__qualname__}" if dotted else kind
