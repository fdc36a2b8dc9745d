"""Where a network has its stages: the layers that are a teacher's levels by default."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from aal_plugin.core.student.families import known_reader

from .levels import inside

# Where a network may be inside its owner: MMPretrain's classifiers, timm's wrappers, and the
# vision models of Hugging Face.
_OWNERS = (
    "", "timm_model.", "backbone.", "backbone.timm_model.", "encoder.", "vision_model.encoder."
)  # fmt: skip
_SPACED = 4  # levels of a transformer whose blocks all have one grid


def default_layers(
    model: nn.Module, whose: str = "teacher", key: str = "teacher.layers"
) -> list[str]:
    """The outputs of a network's stages: `blocks.*`, `stages.*`, `layers.*`, `layer1`…, `s1`….

    After each stage's normalisation (AAL, section 3.2): seven in EfficientNet, four in ResNet.
    MMPretrain's EfficientNet holds stem, stages and head convolution in one list, and stages of
    one resolution in one Sequential: those ends are left out, and those stages are separated.
    A stage that ends with its downsampling (MMPretrain's Swin) ends at its last block instead.
    If a timm model has none of these, its `feature_info` names the layers (DenseNet, VGG, DLA),
    and if a transformer has none, a known family names its blocks (T2T-ViT). The levels of a
    features-only model are the entries of its output, and those of HRNet its last stage's
    branches.

    Args:
        model: a CNN or a transformer, or a module that contains one under a usual name.
        whose: "teacher" or "student", for error messages.
        key: the config key of the layers, for error messages.

    Returns:
        Dotted names, in the order of the stages or blocks; `chosen_levels` thins out blocks.

    Raises:
        ValueError: no such stages.

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
        for name in ("blocks", "stages", "layers", "layer"):
            stages = getattr(root, name, None)
            if isinstance(stages, (nn.Sequential, nn.ModuleList)):
                return [
                    f"{prefix}{name}.{stage}" for stage in _stages_in(dict(stages.named_children()))
                ]
        for name in ("layer", "s", "stage_"):
            count = next(i for i in itertools.count(1) if not hasattr(root, f"{name}{i}"))
            numbered = [f"{name}{i}" for i in range(1, count)]
            if len(numbered) > 1:
                return [prefix + stage for stage in numbered]
        branches = getattr(list(getattr(root, "stage4", None) or [None])[-1], "num_branches", 0)
        if branches:  # HRNet, whose last stage returns a list
            return [f"{prefix}stage4[{branch}]" for branch in range(branches)]
    modules = dict(model.named_modules())
    named = list(dict.fromkeys(entry["module"] for entry in info or []))
    if named and all(name in modules for name in named):
        return [name for name in named if name]
    blocks = _known_blocks(model)
    if blocks:
        return blocks
    raise ValueError(
        f"{whose} {type(model).__name__} has no stages that AAL knows; give {key}=[...], "
        f"names among {[name for name, _ in model.named_children()]} or inside these"
    )


def chosen_levels(maps: Sequence[Tensor], transformer: bool) -> list[int]:
    """Which of a network's default layers become levels.

    All stages of a CNN. Of a transformer's blocks the last one of each grid and width, which are
    its stages. Where all layers have one grid and width (ViT, Mixer, ConvMixer), four evenly
    spaced ones: of 12 blocks the 3rd, 6th, 9th and 12th.

    Args:
        maps: the map of each default layer, (B, C, h, w).
        transformer: whether the layers return tokens or (B, h, w, C).

    Returns:
        Indices into `maps`.

    Example:
        >>> import torch
        >>> chosen_levels([torch.zeros(1, 8, 4, 4)] * 12, transformer=True)
        [2, 5, 8, 11]
    """
    shapes = [tuple(level.shape) for level in maps]
    count = len(shapes)
    ends = [i for i in range(count) if i == count - 1 or shapes[i] != shapes[i + 1]]
    if len(ends) == 1 and count > _SPACED:
        return [math.ceil(part * count / _SPACED) - 1 for part in range(1, _SPACED + 1)]
    return ends if transformer and len(ends) > 1 else list(range(count))


def _known_blocks(model: nn.Module) -> list[str]:
    """The names of a known transformer's blocks."""
    reader = known_reader(model)
    names = {id(module): name for name, module in model.named_modules()}
    found = [names.get(id(block.block)) for block in reader.blocks] if reader else []
    return [name for name in found if name]


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
        widths = [_width(block) for block in blocks]
        # A stage ends where the next block returns another number of channels.
        for number in range(len(blocks) - 1):
            if widths[number] != widths[number + 1]:
                stages.append(f"{name}.{number}")
        stages.append(name)
    return stages


def _last_block(stage: nn.Module) -> str:
    """What follows a stage's name where the stage itself is not called, or downsamples last."""
    if isinstance(stage, nn.ModuleList):  # Twins
        return f".{len(stage) - 1}"
    names = [name for name, _ in stage.named_children()]
    if "blocks" in names and "downsample" in names[names.index("blocks") :]:
        return f".blocks.{len(list(stage.get_submodule('blocks').children())) - 1}"
    return ""


def _width(block: nn.Module) -> int:
    """Output channels of a block: those of its last convolution."""
    return [m.out_channels for m in block.modules() if isinstance(m, nn.Conv2d)][-1]
