"""Modules by their dotted names, as `layers` gives them, and the stages of a network."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

_ALLOWED = "give a list of module names, or remove the key to use the model's stages"
# Where a network may be inside its owner: MMPretrain's classifiers, timm's wrappers, and the
# vision models of Hugging Face.
_OWNERS = (
    "", "timm_model.", "backbone.", "backbone.timm_model.", "encoder.", "vision_model.encoder."
)  # fmt: skip


def split_item(layer: str) -> tuple[str, str | None]:
    """Split a layer into the name of a module and the item of its output, or None.

    A module may return a list, tuple or dict; `name[item]` chooses one of its entries, by
    position or by key. `[0]` alone is the first entry of what the whole model returns.

    Example:
        >>> split_item("stage4[0]"), split_item("layer1"), split_item("fpn[pool]")
        (('stage4', '0'), ('layer1', None), ('fpn', 'pool'))
    """
    found = re.fullmatch(r"(.*)\[([^\[\]]+)\]", layer)
    return (found[1], found[2]) if found else (layer, None)


def named_modules_of(model: nn.Module, layers: Sequence[str], key: str) -> list[nn.Module]:
    """The modules that `layers` names, see `split_item`; `key` is its config key, for errors."""
    check_names(layers, key)
    modules = dict(model.named_modules())
    names = [split_item(layer)[0] for layer in layers]
    for name in names:
        if name not in modules:
            raise ValueError(
                f"{key}: {type(model).__name__} has no module {name!r}; "
                f"near names: {near_names(name, modules)}"
            )
    return [modules[name] for name in names]


def check_names(names: Any, key: str) -> None:
    """Raise ValueError unless `names` is a list of at least one name, without duplicates."""
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ValueError(f"{key}={names!r}; {_ALLOWED}")
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key}={list(names)!r} has an entry that is not a string; {_ALLOWED}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{key}={list(names)!r} lists {twice} more than once; {_ALLOWED}")


def near_names(name: str, names: Iterable[str]) -> str:
    """Up to five of `names` that are most like `name`, for an error message, or "none"."""
    return ", ".join(difflib.get_close_matches(name, list(names), n=5, cutoff=0.4)) or "none"


def inside(model: nn.Module, prefix: str) -> Any:
    """The module of a dotted name, which may end with a dot, or None."""
    found: Any = model
    for name in filter(None, prefix.split(".")):
        found = getattr(found, name, None)
    return found


def nearest(model: nn.Module, layer: str, attribute: str) -> Any:
    """An attribute of the nearest module that has it, from the layer upwards, or None."""
    parts, found = [part for part in split_item(layer)[0].split(".") if part], None
    for end in range(len(parts) + 1):
        found = getattr(inside(model, ".".join(parts[:end])), attribute, found)
    return getattr(found, "value", found)


def default_layers(
    model: nn.Module, whose: str = "teacher", key: str = "teacher.layers"
) -> list[str]:
    """The outputs of a network's stages: `blocks.*`, `stages.*`, `layers.*`, `layer1`…, `s1`….

    After each stage's normalisation (AAL, section 3.2): seven in EfficientNet, four in ResNet.
    MMPretrain's EfficientNet holds stem, stages and head convolution in one list, and stages of
    one resolution in one Sequential: those ends are left out, and those stages are separated.
    A stage that ends with its downsampling (MMPretrain's Swin) ends at its last block instead.
    If a timm model has none of these, its `feature_info` names the layers (DenseNet, VGG, DLA).
    The levels of a features-only model are the entries of its output, and those of HRNet its last
    stage's branches. `whose` and `key` are for the error of a model without such stages.

    Example:
        >>> import timm
        >>> default_layers(timm.create_model("test_resnet"))
        ['layer1', 'layer2', 'layer3', 'layer4']
    """
    info = getattr(model, "feature_info", None)
    if info is not None and hasattr(info, "out_indices"):  # timm's features_only=True
        return [f"[{index}]" for index in range(len(info.out_indices))]
    for prefix in _OWNERS:
        root = inside(model, prefix)
        for name in ("blocks", "stages", "layers", "layer", "encoder"):
            stages = getattr(root, name, None)
            if isinstance(stages, (nn.Sequential, nn.ModuleList)):
                return [
                    f"{prefix}{name}.{stage}" for stage in _stages_in(dict(stages.named_children()))
                ]
        for name in ("layer", "s", "stage_"):
            count = next(i for i in itertools.count(1) if not hasattr(root, f"{name}{i}"))
            if count > 2:
                return [f"{prefix}{name}{i}" for i in range(1, count)]
        branches = getattr(list(getattr(root, "stage4", None) or [None])[-1], "num_branches", 0)
        if branches:  # HRNet, whose last stage returns a list
            return [f"{prefix}stage4[{branch}]" for branch in range(branches)]
    modules = dict(model.named_modules())
    named = list(dict.fromkeys(entry["module"] for entry in info or []))
    if named and all(name in modules for name in named):
        return [name for name in named if name]
    raise ValueError(
        f"{whose} {type(model).__name__} has no stages that AAL knows; give {key}=[...], "
        f"names among {[name for name, _ in model.named_children()]} or inside these"
    )


def _stages_in(entries: dict[str, nn.Module]) -> list[str]:
    """The names within `entries` of the last module of every stage."""
    convs = [name for name, entry in entries.items() if type(entry).__name__ == "ConvModule"]
    if not convs or len(convs) == len(entries):  # MMCV's
        return [f"{name}{_last_block(entry)}" for name, entry in entries.items()]
    stages: list[str] = []
    for name, entry in entries.items():
        if name in convs:
            continue
        blocks = list(entry) if isinstance(entry, nn.Sequential) else []
        widths = [
            [m.out_channels for m in block.modules() if isinstance(m, nn.Conv2d)][-1]
            for block in blocks
        ]
        # A stage ends where the next block returns another number of channels.
        changes = [n for n in range(len(blocks) - 1) if widths[n] != widths[n + 1]]
        stages += [*(f"{name}.{number}" for number in changes), name]
    return stages


def _last_block(stage: nn.Module) -> str:
    """What follows a stage's name where the stage itself is not called, or downsamples last."""
    if isinstance(stage, nn.ModuleList):  # Twins
        return f".{len(stage) - 1}"
    names = [name for name, _ in stage.named_children()]
    if "blocks" in names and "downsample" in names[names.index("blocks") :]:
        return f".blocks.{len(list(stage.get_submodule('blocks').children())) - 1}"
    return ""
