"""A config as MMEngine's pure-Python kind: `with read_base():`, and classes as types."""

from pathlib import Path

from mmpretrain.utils import register_all_modules

import aal_plugin.mm  # noqa: F401
from aal_plugin.mm.configs.registered import registered

register_all_modules(init_default_scope=False)


class _Name:
    """A name that `repr` writes without quotes."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


def pure_python(config, path):
    """Write `path`, a pure-Python config, with the model in a base file beside it."""
    settings = config.to_dict()
    settings.pop("custom_imports", None)  # the classes' own imports register them
    base = dict(model=settings.pop("model"))
    base_path = Path(path).with_name(f"{Path(path).stem}_base.py")
    base_path.write_text(_text(base))
    start = f"with read_base():\n    from .{base_path.stem} import *\n"
    Path(path).write_text(_text(settings, "from mmengine.config import read_base\n", start))
    return path


def _text(settings, imports="", start=""):
    classes = {}
    body = "".join(f"{key} = {_named(value, classes)!r}\n" for key, value in settings.items())
    lines = [f"from {kind.__module__} import {name}\n" for name, kind in classes.items()]
    return imports + "".join(lines) + start + body


def _named(value, classes):
    """The value with a bare name for each type, and the classes of those names."""
    if isinstance(value, dict):
        named = {key: _named(part, classes) for key, part in value.items()}
        kind = dict(registered()).get(value.get("type"))
        if isinstance(kind, type):  # torchvision's transforms are registered as functions
            classes[kind.__name__] = kind
            named["type"] = _Name(kind.__name__)
        return named
    if isinstance(value, (list, tuple)):
        return type(value)(_named(part, classes) for part in value)
    return value
