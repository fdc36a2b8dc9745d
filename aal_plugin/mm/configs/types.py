"""What the parts of a config are, whichever way their type is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def type_name(part: Any) -> str:
    """The bare name of a part's class: of 'CUB', 'mmpretrain.CUB' and the class itself.

    >>> type_name(dict(type="mmpretrain.CUB")), type_name(None)
    ('CUB', '')
    """
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str):
        return kind.rpartition(".")[2]
    return getattr(kind, "__name__", "")


def parts_of(config: Any, key: str = "") -> Iterator[tuple[str, dict]]:
    """Every dict with a type within a config, with its key, such as 'custom_hooks.0'."""
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
    """A config's hooks with their keys, those of `default_hooks` first."""
    default, custom = cfg.get("default_hooks") or {}, cfg.get("custom_hooks") or []
    for name, hook in default.items():
        if isinstance(hook, dict):
            yield f"default_hooks.{name}", hook
    for index, hook in enumerate(custom):
        if isinstance(hook, dict):
            yield f"custom_hooks.{index}", hook
