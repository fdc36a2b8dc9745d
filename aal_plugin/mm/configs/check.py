"""Reports all mistakes in a config at once, before anything is built from it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.core import FrozenTeacher, TimmTeacher
from aal_plugin.core.teacher.weights import check_weights
from aal_plugin.mm.models.backbones.timm_pooled_backbone import TIMMPooledBackbone
from aal_plugin.mm.models.heads.teacher_head import TeacherHead
from aal_plugin.mm.models.mm_teacher import MMTeacher

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

_TO_TIMM = (TimmTeacher, TIMMPooledBackbone)  # they pass other arguments to timm.create_model
_FSDP = ("FSDPStrategy", "WholeFSDPStrategy")
_SCOPES = ("", "aal_plugin", "aal_plugin.mm", "mmpretrain", "mmengine")


def check_config(cfg: Config, *checks: Callable[[], None], weights: bool = True) -> None:
    """Check the parts of a config that this package builds, and run the given `checks`.

    It checks the names of types and arguments, the values of heads and hooks, and the weights of
    the teacher (unless `weights` is False). A single mistake is raised as its own error, several
    as one ValueError with a line for each.

    Raises:
        ValueError, FileNotFoundError, PermissionError: each names the key, the given value and the
            allowed values.
    """
    found: list[Exception] = []
    built = {key: value for key, value in cfg.to_dict().items() if key.endswith(_BUILT)}
    for key, part in parts_of(built):
        if weights or not issubclass(ours().get(type_name(part), object), FrozenTeacher):
            found += [ValueError(words) for words in _mistakes(key, part)]
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


def _mistakes(key: str, part: dict) -> Iterator[str]:
    name = type_name(part)
    known = ours()
    if name not in known:
        scope = part["type"].rpartition(".")[0] if isinstance(part["type"], str) else "a class"
        if scope in _SCOPES and name not in dict(registered()):
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            near = near or _near_where_it_matters(key, name)
            if near:
                yield f"{key}.type={part['type']!r} is not registered; did you mean {near[0]!r}?"
        return
    kind = known[name]
    builders = {"type", "_scope_", *(("priority",) if issubclass(kind, Hook) else ())}
    given = {key: value for key, value in part.items() if key not in builders}
    wrong = list(_wrong_names(key, kind, given))
    yield from wrong
    if wrong:
        return
    if issubclass(kind, (TeacherHead, Hook)):
        try:
            kind(**given)
        except (ValueError, OSError) as error:
            yield str(error)
        except (TypeError, AttributeError) as error:
            yield f"{key}: an argument of {name} has the wrong type ({error})"
    elif issubclass(kind, FrozenTeacher):
        yield from _teachers_mistakes(kind, given)


def _near_where_it_matters(key: str, name: str) -> list[str]:
    """The nearest registered name, for keys whose MMEngine error does not show the given name."""
    if not key.startswith("optim_wrapper"):
        return []
    return difflib.get_close_matches(name, dict(registered()), n=1, cutoff=0.6) or ["AdamW"]


def _wrong_names(key: str, kind: type, given: dict[str, Any]) -> Iterator[str]:
    """Unknown arguments of a class, and missing ones."""
    takes, needs, open_ended = _arguments(kind)
    for name in given:
        # With **kwargs any name is possible, but one that is almost ours is a misspelling.
        near = difflib.get_close_matches(name, takes, n=1, cutoff=0.85 if open_ended else 0.6)
        if name not in takes and (near or not open_ended):
            more = f"did you mean {near[0]!r}?" if near else f"choose {', '.join(sorted(takes))}"
            yield f"{key}.{name}: {kind.__name__} has no argument of this name; {more}"
    for name in sorted(needs - set(given) - {"optimizer"}):  # MMEngine adds a scheduler's optimizer
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


def _teachers_mistakes(kind: type, given: dict[str, Any]) -> Iterator[str]:
    checkpoint = given.get("checkpoint")
    try:
        check_weights(
            given.get("pretrained", False),
            checkpoint or None,
            given.get("allow_random_weights", False),
        )
        if isinstance(checkpoint, str):
            _check_checkpoint(checkpoint)
    except (ValueError, OSError) as error:
        yield str(error)
    config = given.get("config")
    from_file = isinstance(config, str) and config.endswith(".py")
    if kind is MMTeacher and from_file and not Path(str(config)).is_file():
        yield f"teacher.config={config!r}: no such file in {Path.cwd()}"


def _check_checkpoint(checkpoint: str) -> None:
    try:
        check_checkpoint(checkpoint)
    except (ValueError, OSError) as error:
        raise type(error)(f"teacher.{error}") from error
