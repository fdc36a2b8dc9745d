"""Losses between what a recorder reads of a student and the teacher's maps: links and guidance.

# B batch, C channels of a teacher level, h w grid of a student's block or of the links
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .guidance import WEIGHT, guidance_pairs
from .losses.attention_transfer import hint_distance
from .losses.link_ranges import Links, as_grid, link_ranges
from .losses.links import AttentionLinks
from .student.attention_recorder import AttentionRecorder
from .student.by_name import AttentionLayers
from .student.families import image_size_of
from .student.feature_recorder import FeatureRecorder


class StudentLoss(nn.Module):
    """Call `start`, then the student, then this module with the teacher's maps.

    With DistributedDataParallel all three calls belong inside the forward pass of the wrapped
    module: `LinkedStudent` does that. The student is not one of its submodules.
    """

    recorder: AttentionRecorder | FeatureRecorder

    def start(self, image_size: Sequence[int]) -> None:
        """Record the student's next forward pass, on images of (H, W) pixels."""
        self.recorder.start(image_size)

    def discard(self) -> None:
        """Stop recording and forget what was recorded, after a forward pass that failed."""
        self.recorder.discard()

    def idle(self) -> Tensor:
        """A zero that reaches every parameter: for λ = 0, since DDP waits for all gradients."""
        zeros = [0.0 * parameter.sum() for parameter in self.parameters()]
        return torch.stack(zeros).sum() if zeros else torch.zeros(())


def _warn_if_frozen(maps: Sequence[Tensor], which: str, so: str, name: str) -> None:
    if torch.is_grad_enabled() and not any(block.requires_grad for block in maps):
        warnings.warn(
            f"the {which} blocks of the student are frozen (requires_grad=False, frozen_stages), "
            f"so {so}; unfreeze blocks, or remove {name}",
            stacklevel=3,
        )


class AttentionLinkLoss(StudentLoss):
    """L_att of a student and a teacher (AAL, Eq. 4 and 5), where the loop calls the student.

    It holds a recorder of the student's attention and the trainable links. Its parameters are the
    links alone, `links.<level>.weight|bias`. For its calls see `StudentLoss`.

    Args:
        student: a ViT of a family in `aal_plugin.core.student.families`, or a module that
            contains one.
        channels: channels of each teacher level, such as `FrozenTeacher.channels`.
        links: 'full', 'alpha', 'beta', or one (first, last) pair of student blocks per teacher
            level, 1-based and inclusive; see `link_ranges`.
        map_size: side, or (h, w), of the grid on which maps are compared. Default: the student's
            patch grid, or 14×14 if its blocks have several grids. The distance is a mean over the
            pixels of maps of unit norm: with k times the pixels, k times λ weighs the same.
        antialias: smooth teacher maps before they are made smaller; the paper does not.
        attention_layers: names of the attention modules, for a student of no known family; see
            `reader_by_name`.

    Raises:
        ValueError: unknown student, unknown links, or a map size that is not a grid or is larger
            than the images.

    Example:
        >>> import timm, torch
        >>> student = timm.create_model("test_vit").eval()  # 10×10 patches
        >>> link_loss = AttentionLinkLoss(student, channels=[8, 16], links="full")
        >>> link_loss.start((160, 160))
        >>> logits = student(torch.rand(1, 3, 160, 160))
        >>> link_loss([torch.rand(1, 8, 40, 40), torch.rand(1, 16, 20, 20)]).shape
        torch.Size([])
    """

    def __init__(
        self,
        student: nn.Module,
        channels: Sequence[int],
        links: Links = "full",
        map_size: int | Sequence[int] | None = None,
        antialias: bool = False,
        attention_layers: AttentionLayers | None = None,
    ) -> None:
        super().__init__()
        self.map_size = as_grid(map_size)
        self.antialias = antialias
        self.recorder = AttentionRecorder(student, attention_layers)
        if self.recorder.image_size is not None:
            self._check_map_size(self.recorder.image_size)
        heads = self.recorder.heads
        ranges = link_ranges(links, len(channels), len(heads))
        # A random stream of their own: with one seed the student starts, and sees the batches,
        # that it would without AAL.
        with torch.random.fork_rng(devices=[]):
            self.links = AttentionLinks(ranges, heads, channels)

    def start(self, image_size: Sequence[int]) -> None:
        """Record the student's next forward pass, on images of (H, W) pixels."""
        self._check_map_size(image_size)
        super().start(image_size)

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        """Teacher maps of every level, (B, C, H, W) each → L_att, a scalar in float32 or wider.

        Raises:
            ValueError: the student did not run since `start`.
        """
        maps = self.recorder.stop()
        linked = {block for first, last in self.links.ranges for block in range(first, last + 1)}
        so = "AAL trains its links only and the student learns nothing from the teacher's maps"
        _warn_if_frozen([maps[block - 1] for block in linked], "linked", so, "AAL")
        return self.links.distance(maps, activations, self.map_size, self.antialias)

    def _check_map_size(self, image_size: Sequence[int]) -> None:
        if self.map_size is not None and any(map(int.__gt__, self.map_size, image_size)):
            raise ValueError(
                f"map_size={self.map_size} is larger than the images of {image_size[0]}×"
                f"{image_size[1]} pixels; choose the student's patch grid (None) or a few times it"
            )


class Guidance(StudentLoss):
    """Σ over pairs of ‖R(S)/‖R(S)‖ − T/‖T‖‖², a mean over the batch (Li et al., 2022).

    S are the patch tokens of a block on their grid, R is a trainable 1×1 convolution to the
    teacher's channels, T are the maps of a teacher level on the block's grid, and each is divided
    by the l2 norm of all its values. A block as wide as its level needs no convolution. For its
    calls see `StudentLoss`.

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
        weight: float = WEIGHT,
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
        so = "the student learns nothing from guidance"
        _warn_if_frozen(features, "guided", so, "guidance")
        distances = []
        for regressor, block, (_, level) in zip(self.regressors, features, self.pairs):
            if isinstance(regressor, nn.Conv2d):  # in float32 beside a student in bfloat16
                block = regressor(block.to(regressor.weight.dtype))
            distances.append(hint_distance(block, activations[level - 1]))
        return torch.stack(distances).sum()
