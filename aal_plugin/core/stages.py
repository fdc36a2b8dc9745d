"""Where a CNN has its stages, and modules by their dotted names."""

from __future__ import annotations

import difflib
import itertools
from typing import Any, List, Optional, Sequence

from torch import nn


def default_taps(model: nn.Module, whose: str = "teacher", key: str = "teacher.taps") -> List[str]:
    """The outputs of a CNN's stages: `blocks.*`, `stages.*`, `layers.*`, `layer1`… or `s1`….

    After each stage's normalisation (AAL, section 3.2): seven in EfficientNet, four in ResNet.
    Where a timm model has none of these, what its `feature_info` names (DenseNet, VGG, DLA).

    Raises:
        ValueError: no such stages.
    """
    for prefix in ("", "timm_model.", "backbone.", "backbone.timm_model."):
        root = _inside(model, prefix)
        for name in ("blocks", "stages", "layers"):
            stages = getattr(root, name, None)
            if isinstance(stages, (nn.Sequential, nn.ModuleList)):
                return [f"{prefix}{name}.{index}" for index in range(len(stages))]
        for name in ("layer", "s"):
            count = next(i for i in itertools.count(1) if not hasattr(root, f"{name}{i}"))
            numbered = [f"{name}{i}" for i in range(1, count)]
            if len(numbered) > 1:
                return [prefix + stage for stage in numbered]
    named = [info["module"] for info in getattr(model, "feature_info", None) or []]
    modules = dict(model.named_modules())
    if named and all(name in modules for name in named):
        return [name for name in named if name]
    raise ValueError(
        f"{whose} {type(model).__name__} shows no stages; give {key}=[...], "
        f"names among {[name for name, _ in model.named_children()]} or below them"
    )


def named_modules_of(model: nn.Module, taps: Sequence[str], key: str) -> List[nn.Module]:
    """The modules of those dotted names; `key` is the config's, for the error."""
    modules = dict(model.named_modules())
    for tap in taps:
        if tap not in modules:
            raise ValueError(
                f"{key}: {type(model).__name__} has no module {tap!r}; "
                f"near names: {near_names(tap, modules)}"
            )
    return [modules[tap] for tap in taps]


def near_names(name: str, names: Any) -> str:
    """The likeliest of `names` where `name` is none of them, for an error."""
    near = difflib.get_close_matches(name, list(names), n=5, cutoff=0.4)
    return ", ".join(near) or "none"


def _inside(model: nn.Module, prefix: str) -> Optional[nn.Module]:
    for name in filter(None, prefix.split(".")):
        model = getattr(model, name, None)
    return model
