"""Modules by their dotted names, as `layers` gives them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

_ALLOWED = "give a list of module names, or remove the key to use the model's stages"


def split_item(layer: str) -> tuple[str, str | None]:
    """Split a layer into the name of a module and the item of its output.

    A module may return a list, tuple or dict; `name[item]` chooses one of its entries, by
    position or by key. `[0]` alone is the first entry of what the whole model returns.

    Args:
        layer: a dotted module name, with or without an item.

    Returns:
        The module's name, and the item or None.

    Example:
        >>> split_item("stage4[0]"), split_item("layer1"), split_item("fpn[pool]")
        (('stage4', '0'), ('layer1', None), ('fpn', 'pool'))
    """
    found = re.fullmatch(r"(.*)\[([^\[\]]+)\]", layer)
    return (found[1], found[2]) if found else (layer, None)


def named_modules_of(model: nn.Module, layers: Sequence[str], key: str) -> list[nn.Module]:
    """The modules that `layers` names.

    Args:
        model: the owner of the modules.
        layers: dotted names, see `split_item`.
        key: the config key of `layers`, for error messages.

    Raises:
        ValueError: `layers` is no list of names, or the model has no module of such a name.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
        >>> named_modules_of(model, ["1"], "teacher.layers")
        [ReLU()]
    """
    check_names(layers, key)
    modules = dict(model.named_modules())
    found = []
    for layer in layers:
        name, _ = split_item(layer)
        if name not in modules:
            raise ValueError(
                f"{key}: {type(model).__name__} has no module {name!r}; "
                f"near names: {near_names(name, modules)}"
            )
        found.append(modules[name])
    return found


def check_names(names: Any, key: str) -> None:
    """Check that `names` is a list of at least one name, without duplicates.

    Args:
        names: the value that a user gave.
        key: its config key, for error messages.

    Raises:
        ValueError: anything else.

    Example:
        >>> check_names(["layer1", "layer2"], "teacher.layers")
        >>> check_names("layer1", "teacher.layers")
        Traceback (most recent call last):
        ValueError: teacher.layers='layer1'; give a list of module names, or remove the key to \
use the model's stages
    """
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ValueError(f"{key}={names!r}; {_ALLOWED}")
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key}={list(names)!r} has an entry that is not a string; {_ALLOWED}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{key}={list(names)!r} lists {twice} more than once; {_ALLOWED}")


def near_names(name: str, names: Iterable[str]) -> str:
    """The names most like `name`, for an error message.

    Args:
        name: a name that does not exist.
        names: the names that exist.

    Returns:
        Up to five names separated by commas, or "none".

    Example:
        >>> near_names("layer5", ["conv1", "layer4"])
        'layer4'
    """
    return ", ".join(difflib.get_close_matches(name, list(names), n=5, cutoff=0.4)) or "none"
