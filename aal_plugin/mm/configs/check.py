"""Mistakes in a config, told all at once and before anything is built of it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import Registry, root

from aal_plugin.core import FrozenTeacher, TimmTeacher
from aal_plugin.core.teacher.weights import check_weights
from aal_plugin.mm.checkpoints.checkpoint_file import check_checkpoint
from aal_plugin.mm.models.backbones.timm_pooled_backbone import TIMMPooledBackbone
from aal_plugin.mm.models.heads.teacher_head import TeacherHead
from aal_plugin.mm.models.mm_teacher import MMTeacher

from .types import parts_of, type_name

# The ends of the keys of which a Runner builds something; others are a config's own variables.
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

_TO_TIMM = (TimmTeacher, TIMMPooledBackbone)  # whose other arguments go to timm's factory
_FSDP = ("FSDPStrategy", "WholeFSDPStrategy")
_SCOPES = ("", "aal_plugin", "aal_plugin.mm", "mmpretrain", "mmengine")


def check_config(cfg: Config, *checks: Callable[[], None], weights: bool = True) -> None:
    """Raise unless a config's parts that are ours can be built, and `checks` find what they need.

    Looked at are names (of types and of arguments), the values of heads and hooks, and a teacher's
    weights (unless `weights` is False). One mistake is raised as it stands, several as one
    ValueError with a line for each.

    Raises:
        ValueError, FileNotFoundError, PermissionError: each names the key, what was given and
            what is allowed.
    """
    found: list[Exception] = []
    built = {key: value for key, value in cfg.to_dict().items() if key.endswith(_BUILT)}
    for key, part in parts_of(built):
        if weights or not issubclass(ours().get(type_name(part), object), FrozenTeacher):
            found += [ValueError(words) for words in _mistakes(key, part)]
    strategy = cfg.get("strategy")
    if type_name(strategy) in _FSDP and strategy.get("state_dict_cfg", "full") != "full":
        words = f"strategy.state_dict_cfg={strategy['state_dict_cfg']!r} saves shards, which are"
        found.append(ValueError(f"{words} not read as data alone; choose 'full' or leave it out"))
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
    """The classes that this package registers, by their names."""
    from aal_plugin import mm

    return {name: getattr(mm, name) for name in mm.__all__}


def _mistakes(key: str, part: dict) -> Iterator[str]:
    name = type_name(part)
    known = ours()
    if name not in known:
        scope = part["type"].rpartition(".")[0] if isinstance(part["type"], str) else "a class"
        if scope in _SCOPES and name not in _registered():
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
            yield f"{key}: a value of {name} is of another kind than it takes ({error})"
    elif issubclass(kind, (TimmTeacher, MMTeacher)):
        yield from _teachers_mistakes(kind, given)


def _near_where_it_matters(key: str, name: str) -> list[str]:
    """The nearest registered name, at keys where MMEngine's own error does not show what it was."""
    if not key.startswith("optim_wrapper"):
        return []
    return difflib.get_close_matches(name, _registered(), n=1, cutoff=0.6) or ["AdamW"]


def _wrong_names(key: str, kind: type, given: dict[str, Any]) -> Iterator[str]:
    """Arguments that a class does not take, and those that it cannot do without."""
    takes, needs, open_ended = _arguments(kind)
    for name in given:
        # What a class hands on may have any name, but hardly one that is all but ours.
        near = difflib.get_close_matches(name, takes, n=1, cutoff=0.85 if open_ended else 0.6)
        if name not in takes and (near or not open_ended):
            more = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(takes))}"
            yield f"{key}.{name}: {kind.__name__} takes no argument of that name; {more}"
    for name in sorted(needs - set(given) - {"optimizer"}):  # which MMEngine gives a scheduler
        yield f"{key}.{name} is missing; {kind.__name__} needs it"


def _arguments(kind: type) -> tuple:
    """Names that a class takes, names that it needs, and whether it hands others on elsewhere."""
    takes: set[str] = set()
    needs: set[str] = set()
    for owner in kind.__mro__:
        if "__init__" not in vars(owner):
            continue
        parameters = list(inspect.signature(owner.__init__).parameters.values())[1:]
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        needs |= {p.name for p in named if p.default is p.empty and owner is kind}
        takes |= {p.name for p in named}
        hands_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
        to_a_parent = kind not in _TO_TIMM and owner.__module__.startswith("aal_plugin.")
        if not hands_on or not to_a_parent:
            return takes, needs, hands_on
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
    named = kind is MMTeacher and isinstance(config, str) and config.endswith(".py")
    if named and not Path(config).is_file():
        yield f"teacher.config={config!r}: no such file; it was looked for in {Path.cwd()}"


def _check_checkpoint(checkpoint: str) -> None:
    try:
        check_checkpoint(checkpoint)
    except (ValueError, OSError) as error:
        raise type(error)(f"teacher.{error}") from error


def _registered() -> set[str]:
    """The names that any registry of MMEngine's knows."""
    names: set[str] = set()
    waiting = [value for value in vars(root).values() if isinstance(value, Registry)]
    while waiting:
        registry = waiting.pop()
        names |= set(registry.module_dict)
        waiting += registry.children.values()
    return names
