"""The classes that the registries know, and configs written with their names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
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


@cache
def ours() -> dict[str, type]:
    """The classes that this package registers, by name."""
    return {name: kind for name, kind in registered() if kind.__module__.startswith("aal_plugin.")}


def with_names(part: Any) -> Any:
    """A copy of a config part as builtin dicts and lists, with names for classes.

    A pure-Python config holds classes, or MMEngine's LazyObjects of them. They become the names
    under which MMEngine's registries know them, or dotted names. MMPretrain compares some types
    with names, so it does not accept every class.

    >>> from mmpretrain.datasets import CUB
    >>> with_names([dict(type=CUB), dict(type="mmpretrain.datasets.cub.CUB")])
    [{'type': 'CUB'}, {'type': 'CUB'}]
    """
    names = {id(kind): name for name, kind in registered()}

    def named(part: Any) -> Any:
        if isinstance(part, dict):
            return {
                key: name_of(value) if key == "type" else named(value)
                for key, value in dict.items(part)
            }
        if isinstance(part, (list, tuple)):
            return type(part)(map(named, part))
        return name_of(part) if isinstance(part, (type, LazyAttr, LazyObject)) else part

    def name_of(kind: Any) -> Any:
        if isinstance(kind, (LazyAttr, LazyObject)):
            kind = kind.build()
        if isinstance(kind, str):
            found = get_object_from_string(kind) if kind.count(".") > 1 else None
            return names.get(id(found), kind)
        if id(kind) in names or not isinstance(kind, type):
            return names.get(id(kind), kind)
        return f"{kind.__module__}.{kind.__qualname__}"

    return named(part)
