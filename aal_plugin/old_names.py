"""Names of earlier versions: an error gives the name that replaced each of them.

Imports nothing but the standard library: `aal_plugin` itself uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")

# Classes that `aal_plugin` had and `aal_plugin.mm` has now.
MOVED = frozenset(
    [
        "AALClassifier",
        "ActivationTransferHead",
        "AttentionInPrediction",
        "AttentionLinkHead",
        "CUBWithBoxes",
        "ClassBalancedSubset",
        "CropToBox",
        "DeiTInit",
        "DeiTLR",
        "DistillHead",
        "FiniteLossHook",
        "FitCheckHook",
        "GradientTransferHead",
        "HintHead",
        "KeptEMAHook",
        "LambdaDecayHook",
        "LinkHeatmapHook",
        "LocalizationAccuracy",
        "MMTeacher",
        "NetworkInNetwork",
        "PaddedRandomCrop",
        "RandomStateHook",
        "ResetMomentumHook",
        "ResizeEdgeWithBoxes",
        "ResumableEpochLoop",
        "ResumableIterLoop",
        "SafeCheckpointHook",
        "ShapesDataset",
        "SmallResNet",
        "StopSignalHook",
        "TIMMPooledBackbone",
        "TeacherAccuracyHook",
        "TimmTeacher",
        "WholeFSDPStrategy",
        "WideResNet",
    ]
)

# Arguments of each class: old name, new name.
RENAMED = {
    "AALClassifier": {"taps": "attention_layers", "student_taps": "student_layers"},
    "TimmTeacher": {"taps": "layers"},
    "MMTeacher": {"taps": "layers"},
    "AttentionInPrediction": {"taps": "attention_layers"},
}


def moved_class(name: str) -> type:
    """A class in place of one that has moved: to build or to extend it is an error.

    MMEngine's registry hides an error that reading the name alone would raise.
    """

    def fail(cls: type, *args: Any, **kwargs: Any) -> None:
        raise ImportError(f"aal_plugin.{name}: this class has moved; use 'aal_plugin.mm.{name}'")

    return type(name, (), {"__new__": fail, "__init_subclass__": classmethod(fail)})


def rejects_old_arguments(init: Callable[P, None]) -> Callable[P, None]:
    """Decorates a constructor of `RENAMED`: an old argument is an error that gives the new name.

    Raises:
        ValueError: by the constructor, for an old argument.
    """
    kind = init.__qualname__.partition(".")[0]

    @wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        for _, words in renamed_arguments(kind, kind, kwargs):
            raise ValueError(words)
        init(*args, **kwargs)

    return checked


def renamed_arguments(key: str, kind: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each old argument of a class, with an error message that names the new one.

    Args:
        key: the config's name of the part.
        kind: the name of its class.
        given: its arguments.
    """
    for old, new in RENAMED.get(kind, {}).items():
        if old in given:
            yield old, f"{key}.{old}={given[old]!r}: this argument is now called {key}.{new}"


def moved_type(key: str, kind: Any) -> str | None:
    """The error message for `type='aal_plugin.AALClassifier'`, or None for any other type."""
    scope, _, name = kind.rpartition(".") if isinstance(kind, str) else ("", "", "")
    if scope != "aal_plugin":
        return None
    return f"{key}.type={kind!r}: this class has moved; use 'aal_plugin.mm.{name}'"


def moved_import(custom_imports: Any) -> str | None:
    """The error message for `custom_imports` of 'aal_plugin' alone, which registers nothing."""
    given = (custom_imports or {}).get("imports") or []
    names = [given] if isinstance(given, str) else list(given)
    if "aal_plugin" not in names or "aal_plugin.mm" in names:
        return None
    return (
        f"custom_imports.imports={given!r}: importing 'aal_plugin' no longer registers the "
        "classes; use 'aal_plugin.mm'"
    )
