"""Reads the types in a config, however they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.config.lazy import LazyAttr, LazyObject

# MMEngine registers its class PretrainedInit as 'Pretrained'; a config can use either name.
PRETRAINED = ("Pretrained", "PretrainedInit")


def type_name(part: Any) -> str:
    """The bare class name of a config part, or '' for anything that has no type.

    A type can be a name ('CUB'), a dotted name ('mmpretrain.CUB'), the class itself, or the
    LazyObject of a pure-Python config.

    >>> type_name(dict(type="mmpretrain.CUB")), type_name(None)
    ('CUB', '')
    """
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, (LazyAttr, LazyObject)):
        return str(kind)
    if isinstance(kind, str):
        return kind.rpartition(".")[2]
    return getattr(kind, "__name__", "")


def parts_of(config: Any, key: str = "") -> Iterator[tuple[str, dict]]:
    """Every dict with a type in a config, with its key, such as 'custom_hooks.0'."""
    inside: Iterable[tuple[Any, Any]]
    if isinstance(config, dict):
        if type_name(config):
            yield key, config
        inside = config.items()
    elif isinstance(config, (list, tuple)):
        inside = enumerate(config)
    else:
        return
    for name, part in inside:
        yield from parts_of(part, f"{key}.{name}" if key else str(name))


def hooks_of(cfg: Any) -> Iterator[tuple[str, dict]]:
    """A config's hooks with their keys, `default_hooks` first."""
    default, custom = cfg.get("default_hooks") or {}, cfg.get("custom_hooks") or []
    hooks = [(f"default_hooks.{name}", hook) for name, hook in default.items()]
    hooks += [(f"custom_hooks.{index}", hook) for index, hook in enumerate(custom)]
    yield from ((key, hook) for key, hook in hooks if isinstance(hook, dict))
