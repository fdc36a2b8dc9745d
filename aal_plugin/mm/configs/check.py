"""Reports the mistakes in a config all at once, before anything is built from it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from aal_plugin.core import TimmTeacher
from aal_plugin.core.settings import check_whole
from aal_plugin.mm.models.backbones.timm_pooled_backbone import TIMMPooledBackbone

from .registered import ours, registered
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
# MMEngine's own hooks, the only ones that None removes.
_REMOVABLE = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")
_TO_TIMM = (TimmTeacher, TIMMPooledBackbone)  # they pass other arguments to timm.create_model
_FSDP = ("FSDPStrategy", "WholeFSDPStrategy")
_SCOPES = ("", "aal_plugin", "aal_plugin.mm", "mmpretrain", "mmengine")


def check_config(cfg: Config, *checks: Callable[[], None]) -> None:
    """Check the names in a config: its keys, and the types and arguments of this package's parts.

    Other values are checked by the classes that use them, when a run is built. The given `checks`
    run too. A single mistake is raised as its own error, several as one ValueError with a line for
    each.

    Raises:
        ValueError, FileNotFoundError, PermissionError: each names the key, the given value and the
            allowed values.
    """
    found: list[Exception] = [ValueError(words) for words in _mistakes(cfg)]
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


def check_numbers(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Raise ValueError for numbers of which MMEngine and torch tell late, or without a key."""
    for key in loaders:
        loader = cfg.get(key) or {}
        if not loader.get("batch_sampler"):
            check_whole(f"{key}.batch_size", loader.get("batch_size", 1), 1)
        check_whole(f"{key}.num_workers", loader.get("num_workers", 0), 0)
        for name in ("persistent_workers", "prefetch_factor"):
            if loader.get(name) and not loader.get("num_workers"):
                raise ValueError(
                    f"{key}.{name}={loader[name]!r} needs workers, but num_workers=0; remove "
                    f"{name}, or set {key}.num_workers to 1 or more"
                )
    loop = cfg.get("train_cfg") or {}
    for name in ("max_epochs", "max_iters", "val_interval"):
        if name in loop:
            check_whole(f"train_cfg.{name}", loop[name], 1)


def _mistakes(cfg: Config) -> Iterator[str]:
    for key in cfg:
        near = difflib.get_close_matches(key, _READ, n=1, cutoff=0.82)
        if near and key not in _READ:
            yield f"{key} is a key that nothing reads; did you mean {near[0]!r}?"
    for name, hook in (cfg.get("default_hooks") or {}).items():
        if hook is None and name not in _REMOVABLE:
            yield (
                f"default_hooks.{name}=None: MMEngine removes only its own hooks in this way "
                f"({', '.join(_REMOVABLE)}); write default_hooks=dict(_delete_=True, ...) with the "
                "hooks to keep"
            )
    known, own = dict(registered()), ours()
    built = {key: value for key, value in cfg.to_dict().items() if key.endswith(_BUILT)}
    for key, part in parts_of(built):
        yield from _wrong_names(key, part, known, own)
    strategy = cfg.get("strategy")
    if type_name(strategy) in _FSDP and strategy.get("state_dict_cfg", "full") != "full":
        yield (
            f"strategy.state_dict_cfg={strategy['state_dict_cfg']!r} saves shards, which cannot be "
            "loaded safely; choose 'full' or remove the key"
        )


def _wrong_names(
    key: str, part: dict, known: dict[str, type], own: dict[str, type]
) -> Iterator[str]:
    """Misspelled types, unknown arguments of our classes, and missing ones."""
    name = type_name(part)
    if isinstance(arch := part.get("arch"), str):
        archs = getattr(known.get(name), "arch_zoo", None) or {arch: None}
        if not {arch, arch.lower()} & set(archs):
            near = difflib.get_close_matches(arch, archs, n=1, cutoff=0)
            yield f"{key}.arch={arch!r}; did you mean {near[0]!r}? {name} has {', '.join(archs)}"
    if name not in own:
        scope = part["type"].rpartition(".")[0] if isinstance(part["type"], str) else "a class"
        if scope in _SCOPES and name not in known:
            near = difflib.get_close_matches(name, own, n=1, cutoff=0.8)
            if key.startswith("optim_wrapper"):  # MMEngine's error does not show the given name
                near = near or difflib.get_close_matches(name, known, n=1) or ["AdamW"]
            if near:
                yield f"{key}.type={part['type']!r} is not registered; did you mean {near[0]!r}?"
        return
    kind = own[name]
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
