"""Reports all misspelled names in a config at once, before anything is built from it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from aal_plugin.core import TimmTeacher
from aal_plugin.mm.models.backbones.timm_pooled_backbone import TIMMPooledBackbone

from .registered import registered
from .types import parts_of, type_name

# A Runner builds the keys with these endings. Other keys are variables of the config.
_BUILT = (
    "model",
    "_hooks",
    "_dataloader",
    "_evaluator",
    "optim_wrapper",
    "param_scheduler",
    "visualizer",
    "_cfg",
)
# The keys that MMEngine reads. Any other key is a variable of the config, or a misspelling.
_READ = (
    *list(inspect.signature(Runner.__init__).parameters)[1:],
    "custom_imports",
    "model_wrapper_cfg",
    "find_unused_parameters",
    "runner_type",
    "strategy",
    "compile",
)
_TO_TIMM = (TimmTeacher, TIMMPooledBackbone)  # they pass other arguments to timm.create_model
_FSDP = ("FSDPStrategy", "WholeFSDPStrategy")
_SCOPES = ("", "aal_plugin", "aal_plugin.mm", "mmpretrain", "mmengine")


def check_config(cfg: Config, *checks: Callable[[], None]) -> None:
    """Check the names in a config: its keys, and the types and arguments of this package's parts.

    Values are checked by the classes that use them, when a run is built. The given `checks` run
    too. A single mistake is raised as its own error, several as one ValueError with a line for
    each.

    Raises:
        ValueError, FileNotFoundError, PermissionError: each names the key, the given value and the
            allowed values.
    """
    found: list[Exception] = [ValueError(words) for words in _misspelled_keys(cfg)]
    built = {key: value for key, value in cfg.to_dict().items() if key.endswith(_BUILT)}
    for key, part in parts_of(built):
        found += [ValueError(words) for words in _wrong_names(key, part)]
    strategy = cfg.get("strategy")
    if type_name(strategy) in _FSDP and strategy.get("state_dict_cfg", "full") != "full":
        words = f"strategy.state_dict_cfg={strategy['state_dict_cfg']!r} saves shards, which cannot"
        found.append(ValueError(f"{words} be loaded safely; choose 'full' or remove the key"))
    for check in checks:
        try:
            check()
        except (ValueError, OSError) as error:
            found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        lines = dict.fromkeys(str(error) for error in found)
        raise ValueError("\n".join([f"{len(lines)} mistakes", *(f"  {line}" for line in lines)]))


def ours() -> dict[str, type]:
    """The classes that this package registers, by name."""
    from aal_plugin import mm  # not at the top: mm imports the rooms that import this file

    return {name: getattr(mm, name) for name in mm.__all__}


def _misspelled_keys(cfg: Config) -> Iterator[str]:
    for key in cfg:
        near = difflib.get_close_matches(key, _READ, n=1, cutoff=0.82)
        if near and key not in _READ:
            yield f"{key} is a key that nothing reads; did you mean {near[0]!r}?"


def _wrong_names(key: str, part: dict) -> Iterator[str]:
    """Misspelled types, unknown arguments of our classes, and missing ones."""
    name, known = type_name(part), ours()
    if isinstance(arch := part.get("arch"), str):
        archs = getattr(dict(registered()).get(name), "arch_zoo", None) or {arch: None}
        if arch.lower() not in archs:
            near = difflib.get_close_matches(arch, archs, n=1, cutoff=0)
            yield f"{key}.arch={arch!r}; did you mean {near[0]!r}? {name} has {', '.join(archs)}"
    if name not in known:
        scope = part["type"].rpartition(".")[0] if isinstance(part["type"], str) else "a class"
        if scope in _SCOPES and name not in (others := dict(registered())):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if key.startswith("optim_wrapper"):  # MMEngine's error does not show the given name
                near = near or difflib.get_close_matches(name, others, n=1) or ["AdamW"]
            if near:
                yield f"{key}.type={part['type']!r} is not registered; did you mean {near[0]!r}?"
        return
    kind = known[name]
    takes, needs, open_ended = _arguments(kind)
    given = set(part) - {"type", "_scope_", *(("priority",) if issubclass(kind, Hook) else ())}
    for name in sorted(given - takes):
        # With **kwargs any name is possible, but one that is almost ours is a misspelling.
        near = difflib.get_close_matches(name, takes, n=1, cutoff=0.85 if open_ended else 0.6)
        if near or not open_ended:
            more = f"did you mean {near[0]!r}?" if near else f"choose {', '.join(sorted(takes))}"
            yield f"{key}.{name}: {kind.__name__} has no argument of this name; {more}"
    for name in sorted(needs - given - {"optimizer"}):  # MMEngine adds a scheduler's optimizer
        yield f"{key}.{name} is missing; {kind.__name__} needs it"


def _arguments(kind: type) -> tuple[set[str], set[str], bool]:
    """Names that a class takes, names that it needs, and whether **kwargs go elsewhere."""
    takes: set[str] = set()
    needs: set[str] = set()
    for owner in kind.__mro__:
        if "__init__" not in vars(owner):
            continue
        parameters = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        needs |= {p.name for p in named if p.default is p.empty and owner is kind}
        takes |= {p.name for p in named}
        passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
        to_a_parent = kind not in _TO_TIMM and owner.__module__.startswith("aal_plugin.")
        if not passes_on or not to_a_parent:
            return takes, needs, passes_on
    return takes, needs, True
