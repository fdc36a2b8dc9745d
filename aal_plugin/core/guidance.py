"""Locality guidance: a ViT's patch tokens are pulled to the maps of a CNN (Li et al., 2022).

# B batch, C channels of a teacher level, h w grid of a student's block
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .losses.attention_transfer import hint_distance
from .settings import check_number
from .student.families import image_size_of
from .student.feature_recorder import FeatureRecorder

# The authors' own: its weight, and the number of blocks that are guided.
_WEIGHT = 2.5
_PAIRS = 4
_KEYS = ("weight", "blocks", "levels", "student_layers")

GuidanceSetting = float | Mapping[str, Any]


class Guidance(nn.Module):
    """Σ over pairs of ‖R(S)/‖R(S)‖ − T/‖T‖‖², a mean over the batch (Li et al., 2022).

    S are the patch tokens of a block on their grid, R is a trainable 1×1 convolution to the
    teacher's channels, T are the maps of a teacher level on the block's grid, and each is divided
    by the l2 norm of all its values. A block as wide as its level needs no convolution.

    Call `start`, then the student, then this module. The student is not one of its submodules.

    Args:
        student: a transformer of a known family, a CNN with stages, or a module that contains
            one, see `FeatureRecorder`.
        channels: channels of each teacher level, such as `FrozenTeacher.channels`.
        weight: what the loss is multiplied with, by the caller.
        blocks: numbers of the student's blocks (a CNN's stages), from 1. Default: as many as
            `levels`, evenly spaced from the first to the last.
        levels: a number of a teacher level, from 1, for each block. Default: four evenly spaced
            ones, or as many as `blocks`.
        student_layers: names of the student's modules that are counted as its blocks.

    Attributes:
        pairs: (block, level), counted from 1.

    Raises:
        ValueError: blocks or levels that do not exist, or not one level a block; a student of no
            known family.

    Example:
        >>> import timm, torch
        >>> student = timm.create_model("test_vit").eval()  # 6 blocks, 10×10 patches
        >>> guidance = Guidance(student, channels=[8, 16, 24])
        >>> guidance.pairs
        [(1, 1), (3, 2), (6, 3)]
        >>> guidance.start((160, 160))
        >>> logits = student(torch.rand(1, 3, 160, 160))
        >>> guidance([torch.rand(1, c, 20, 20) for c in (8, 16, 24)]).shape
        torch.Size([])
    """

    def __init__(
        self,
        student: nn.Module,
        channels: Sequence[int],
        weight: float = _WEIGHT,
        blocks: Sequence[int] | None = None,
        levels: Sequence[int] | None = None,
        student_layers: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.recorder = FeatureRecorder(student, student_layers, "guidance.student_layers")
        widths = self.recorder.channels(student, image_size_of(student) or (64, 64))
        self.pairs = guidance_pairs(len(widths), len(channels), blocks, levels)
        sizes = [(widths[block - 1], channels[level - 1]) for block, level in self.pairs]
        # A random stream of their own, as the links have.
        with torch.random.fork_rng(devices=[]):
            self.regressors = nn.ModuleList(
                nn.Identity() if own == theirs else nn.Conv2d(own, theirs, kernel_size=1)
                for own, theirs in sizes
            )

    def start(self, image_size: Sequence[int]) -> None:
        """Record the student's next forward pass, on images of (H, W) pixels."""
        height, width = image_size
        self.recorder.start((height, width))

    def discard(self) -> None:
        """Stop recording and forget what was recorded, after a forward pass that failed."""
        self.recorder.discard()

    def features(self) -> list[Tensor]:
        """What was recorded since `start` of each pair's block, (B, C, h, w)."""
        recorded = self.recorder.stop()
        return [recorded[block - 1] for block, _ in self.pairs]

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        """Teacher maps of every level, (B, C, H, W) each → the loss without its weight, a scalar.

        Raises:
            ValueError: the student did not run since `start`.
        """
        features = self.features()
        if torch.is_grad_enabled() and not any(block.requires_grad for block in features):
            warnings.warn(
                "the guided blocks of the student are frozen (requires_grad=False, frozen_stages), "
                "so the student learns nothing from guidance; unfreeze blocks, or remove guidance",
                stacklevel=2,
            )
        distances = []
        for regressor, block, (_, level) in zip(self.regressors, features, self.pairs):
            if isinstance(regressor, nn.Conv2d):  # in float32 beside a student in bfloat16
                block = regressor(block.to(regressor.weight.dtype))
            distances.append(hint_distance(block, activations[level - 1]))
        return torch.stack(distances).sum()

    def idle(self) -> Tensor:
        """A zero that reaches every convolution: DDP waits for all gradients."""
        return sum((0.0 * parameter.sum() for parameter in self.parameters()), torch.zeros(()))


def guidance_settings(guidance: Any) -> dict[str, Any]:
    """The arguments of `Guidance` that a setting stands for: a weight, or a dict of them.

    Raises:
        ValueError: neither; an unknown key; a weight that is not a finite number, 0 or more.

    Example:
        >>> guidance_settings(2.5), guidance_settings({"levels": [1, 4]})
        ({'weight': 2.5}, {'weight': 2.5, 'levels': [1, 4]})
    """
    given = dict(guidance) if isinstance(guidance, Mapping) else dict(weight=guidance)
    for key in given:
        if key not in _KEYS:
            raise ValueError(f"guidance has the key {key!r}; choose among {', '.join(_KEYS)}")
    name = "guidance.weight" if isinstance(guidance, Mapping) else "guidance"
    settings = dict(dict(weight=_WEIGHT), **given)
    allowed = f"a weight, 0 or more (the published one is {_WEIGHT})"
    if name == "guidance":
        allowed += f", or a dict of {', '.join(_KEYS)}"
    check_number(name, settings["weight"], allowed, low=0)
    return settings


def guidance_pairs(
    num_blocks: int,
    num_levels: int,
    blocks: Sequence[int] | None = None,
    levels: Sequence[int] | None = None,
) -> list[tuple[int, int]]:
    """(block, level) of each guided block, counted from 1.

    What is not given is spaced evenly from the first to the last, and rounded. Without both there
    are four pairs, or as many as the smaller side has.

    Raises:
        ValueError: numbers that do not exist, or not one level a block.

    Example:
        >>> guidance_pairs(num_blocks=12, num_levels=7)
        [(1, 1), (5, 3), (8, 5), (12, 7)]
        >>> guidance_pairs(12, 4, levels=[3, 4])
        [(1, 3), (12, 4)]
    """
    sides = (("blocks", blocks, num_blocks, "student"), ("levels", levels, num_levels, "teacher"))
    for key, numbers, total, whose in sides:
        if numbers is None:
            continue
        allowed = f"one or more numbers from 1 to {total}, the {whose}'s {key}"
        if not isinstance(numbers, (list, tuple)) or not numbers:
            raise ValueError(f"guidance.{key}={numbers!r}; choose {allowed}")
        for number in numbers:  # type, not isinstance: True is no block
            if type(number) is not int or not 1 <= number <= total:
                raise ValueError(f"guidance.{key}: {number!r}; choose {allowed}")
    if blocks is not None and levels is not None and len(blocks) != len(levels):
        raise ValueError(
            f"guidance.blocks={list(blocks)} and guidance.levels={list(levels)}; give one level "
            "per block"
        )
    count = len(blocks or levels or ()) or min(_PAIRS, num_blocks, num_levels)
    return list(zip(blocks or _spaced(count, num_blocks), levels or _spaced(count, num_levels)))


def _spaced(count: int, total: int) -> list[int]:
    """Of 1 to `total`, `count` numbers from the first to the last; one number is the last."""
    if count == 1:
        return [total]
    return [1 + round(i * (total - 1) / (count - 1)) for i in range(count)]
