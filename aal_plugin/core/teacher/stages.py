"""Where a CNN has its stages, and modules by their dotted names."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


def default_layers(
    model: nn.Module, whose: str = "teacher", key: str = "teacher.layers"
) -> list[str]:
    """The outputs of a CNN's stages: `blocks.*`, `stages.*`, `layers.*`, `layer1`… or `s1`….

    After each stage's normalisation (AAL, section 3.2): seven in EfficientNet, four in ResNet.
    MMPretrain's EfficientNet holds stem, stages and head convolution in one list, and stages of
    one resolution in one Sequential: those ends are left out, and those stages taken apart.
    Where a timm model has none of these, what its `feature_info` names (DenseNet, VGG, DLA).

    Raises:
        ValueError: no such stages.
    """
    for prefix in ("", "timm_model.", "backbone.", "backbone.timm_model."):
        root = _inside(model, prefix)
        for name in ("blocks", "stages", "layers"):
            stages = getattr(root, name, None)
            if isinstance(stages, (nn.Sequential, nn.ModuleList)):
                return [f"{prefix}{name}.{stage}" for stage in _stages_in(stages)]
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


def _stages_in(entries: Sequence[nn.Module]) -> list[str]:
    """The names within `entries` of the last module of every stage."""
    convs = [type(entry).__name__ == "ConvModule" for entry in entries]  # MMCV's
    if not any(convs) or all(convs):
        return [str(index) for index in range(len(entries))]
    stages: list[str] = []
    for index, entry in enumerate(entries):
        if convs[index]:
            continue
        blocks = list(entry) if isinstance(entry, nn.Sequential) else []
        widths = [_width(block) for block in blocks]
        # A stage ends where the next block puts out another number of channels.
        for number in range(len(blocks) - 1):
            if widths[number] != widths[number + 1]:
                stages.append(f"{index}.{number}")
        stages.append(str(index))
    return stages


def _width(block: nn.Module) -> int:
    """Channels that a block puts out: those of its last convolution."""
    return [m.out_channels for m in block.modules() if isinstance(m, nn.Conv2d)][-1]


def output_formats(model: nn.Module, names: Sequence[str]) -> list[str]:
    """'NHWC' or 'NCHW' for each named module: what timm's `output_fmt` says nearest above it."""
    formats = []
    for name in names:
        parts, found = name.split("."), None
        for end in range(len(parts) + 1):
            owner = _inside(model, ".".join(parts[:end]))
            found = getattr(owner, "output_fmt", found)
        formats.append(str(getattr(found, "value", found) or "NCHW"))
    return formats


def as_map(output: Any, fmt: str, image_size: tuple[int, int], layer: str) -> Tensor:
    """What a stage puts out as (B, C, h, w).

    Of a list the first is taken, as timm does (SelecSLS hands on [map, skip]); of a tuple the
    last, MMPretrain's stages being a tuple. Channels that come last are told from the image's
    sides: the grid keeps their ratio.

    Args:
        fmt: of `output_formats`.
        image_size: (H, W) that the model was given.
        layer: what it is called, for the error.

    Raises:
        ValueError: no four axes; channels that lie last where the model does not say so.
    """
    if isinstance(output, list):
        output = output[0]
    elif isinstance(output, tuple):
        output = output[-1]
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if not isinstance(output, Tensor) or output.dim() != 4:
        raise ValueError(f"{layer} returns {shape}; expected (B, C, h, w) maps")
    channels_last = _keeps_ratio(shape[1:3], image_size)
    channels_first = _keeps_ratio(shape[2:], image_size)
    if channels_last and (fmt == "NHWC" or not channels_first):
        if fmt != "NHWC":
            raise ValueError(
                f"{layer} returns {shape} for images of {image_size[0]}×{image_size[1]} pixels; "
                "its channels seem to come last, expected (B, C, h, w) maps"
            )
        return output.permute(0, 3, 1, 2)
    return output


def _keeps_ratio(grid: Sequence[int], image_size: tuple[int, int]) -> bool:
    """Whether (h, w) is an image's grid, to one position that rounding may add."""
    height, width = image_size
    return abs(grid[0] * width - grid[1] * height) <= max(height, width)


def named_modules_of(model: nn.Module, layers: Sequence[str], key: str) -> list[nn.Module]:
    """The modules of those dotted names; `key` is the config's, for the error."""
    check_names(layers, key)
    modules = dict(model.named_modules())
    for layer in layers:
        if layer not in modules:
            raise ValueError(
                f"{key}: {type(model).__name__} has no module {layer!r}; "
                f"near names: {near_names(layer, modules)}"
            )
    return [modules[layer] for layer in layers]


def check_names(names: Any, key: str) -> None:
    """Raise ValueError unless they are a list of one name or more, each of them once."""
    wanted = "give one module name or more, or leave it out for the model's stages"
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ValueError(f"{key}={names!r}; {wanted}")
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key}={list(names)!r} holds something that is no name; {wanted}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{key}={list(names)!r} names {twice} more than once; {wanted}")


def near_names(name: str, names: Any) -> str:
    """The likeliest of `names` where `name` is none of them, for an error."""
    near = difflib.get_close_matches(name, list(names), n=5, cutoff=0.4)
    return ", ".join(near) or "none"


def _inside(model: nn.Module, prefix: str) -> nn.Module | None:
    for name in filter(None, prefix.split(".")):
        model = getattr(model, name, None)
    return model
