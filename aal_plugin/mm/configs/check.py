"""Reports the mistakes in a config all at once, before anything is built from it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator

from mmengine.config import Config
from mmengine.runner import Runner

from aal_plugin.core.settings import check_whole

from .registered import registered
from .types import type_name

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
_FSDP = ("FSDPStrategy", "WholeFSDPStrategy")


def check_config(cfg: Config, *checks: Callable[[], None]) -> None:
    """Check the keys of a config, which nothing else does, and run the given `checks`.

    Types, arguments and values are checked where they are used, when a run is built. A single
    mistake is raised as its own error, several as one ValueError with a line for each.

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
    kind = ((cfg.get("optim_wrapper") or {}).get("optimizer") or {}).get("type")
    known = dict(registered())
    if isinstance(kind, str) and "." not in kind and kind not in known:
        near = difflib.get_close_matches(kind, known, n=1) or ["AdamW"]
        # MMEngine's own error does not show the name.
        yield f"optim_wrapper.optimizer.type={kind!r} is not registered; did you mean {near[0]!r}?"
    strategy = cfg.get("strategy")
    if type_name(strategy) in _FSDP and strategy.get("state_dict_cfg", "full") != "full":
        yield (
            f"strategy.state_dict_cfg={strategy['state_dict_cfg']!r} saves shards, which cannot be "
            "loaded safely; choose 'full' or remove the key"
        )
