"""The method in any training loop: `LinkedStudent`, and L_att alone, `AttentionLinkLoss`.

# B batch, C channels of a teacher level, h w map grid
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .guidance import Guidance, GuidanceSetting, guidance_settings
from .losses.links import AttentionLinks, Links, as_grid, link_ranges
from .student.attention_recorder import AttentionRecorder
from .student.by_name import AttentionLayers


class AttentionLinkLoss(nn.Module):
    """L_att of a student and a teacher (AAL, Eq. 4 and 5), where the loop calls the student.

    It holds a recorder of the student's attention and the trainable links. Its parameters are the
    links alone, `links.<level>.weight|bias`; the student is not one of its submodules.

    Call `start`, then the student, then this module. With DistributedDataParallel all three calls
    belong inside the forward pass of the wrapped module: `LinkedStudent` does that.

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
        height, width = image_size
        self._check_map_size((height, width))
        self.recorder.start((height, width))

    def discard(self) -> None:
        """Stop recording and forget what was recorded, after a forward pass that failed."""
        self.recorder.discard()

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        """Teacher maps of every level, (B, C, H, W) each → L_att, a scalar in float32 or wider.

        Raises:
            ValueError: the student did not run since `start`.
        """
        maps = self.recorder.stop()
        linked = {block for first, last in self.links.ranges for block in range(first, last + 1)}
        if torch.is_grad_enabled() and not any(maps[block - 1].requires_grad for block in linked):
            warnings.warn(
                "the linked blocks of the student are frozen (requires_grad=False, frozen_stages), "
                "so AAL trains its links only and the student learns nothing from the teacher's "
                "maps; unfreeze blocks, or remove AAL",
                stacklevel=2,
            )
        return self.links.distance(maps, activations, self.map_size, self.antialias)

    def idle(self) -> Tensor:
        """A zero that reaches every link: for λ = 0, since DDP waits for all gradients."""
        zero = next(self.links.parameters()).new_zeros(())
        return zero + sum(0.0 * parameter.sum() for parameter in self.links.parameters())

    def _check_map_size(self, image_size: tuple[int, int]) -> None:
        if self.map_size is not None and any(map(int.__gt__, self.map_size, image_size)):
            raise ValueError(
                f"map_size={self.map_size} is larger than the images of {image_size[0]}×"
                f"{image_size[1]} pixels; choose the student's patch grid (None) or a few times it"
            )


class LinkedStudent(nn.Module):
    """The one module that the optimizer, DDP, EMA and `torch.compile` receive.

    Every trainable part runs inside this module's forward pass, as DDP requires. `student` keeps
    its own parameter names below `student.`; `link_loss` is an `AttentionLinkLoss`, and `guidance`
    a `Guidance`. After training, `student` is what you keep.

    Args:
        student, channels, map_size, antialias, attention_layers: see `AttentionLinkLoss`.
        links: as there, or None for guidance alone.
        guidance: locality guidance beside the links: its weight (the published one is 2.5), or a
            dict of `Guidance`'s weight, blocks, levels and student_layers.

    Example:
        >>> import timm, torch
        >>> from aal_plugin.core import TimmTeacher
        >>> teacher = TimmTeacher("test_resnet", allow_random_weights=True)
        >>> student = timm.create_model("test_vit")
        >>> model = LinkedStudent(student, teacher.channels, links="alpha", guidance=2.5)
        >>> images = torch.randn(2, 3, 160, 160)
        >>> activations, _ = teacher(images)
        >>> logits, distance, guidance = model(images, activations)
        >>> logits.shape, distance.requires_grad, guidance.requires_grad
        (torch.Size([2, 1000]), True, True)
    """

    def __init__(
        self,
        student: nn.Module,
        channels: Sequence[int],
        links: Links | None = "full",
        map_size: int | Sequence[int] | None = None,
        antialias: bool = False,
        attention_layers: AttentionLayers | None = None,
        guidance: GuidanceSetting | None = None,
    ) -> None:
        super().__init__()
        if links is None and guidance is None:
            raise ValueError(
                "links=None and guidance=None, so the teacher would have no effect; give one"
            )
        self.student = student
        self.link_loss: Any = None
        self.guidance: Guidance | None = None
        if links is not None:
            settings = (channels, links, map_size, antialias, attention_layers)
            self.link_loss = AttentionLinkLoss(student, *settings)
        if guidance is not None:
            self.guidance = Guidance(student, channels, **guidance_settings(guidance))

    @property
    def links(self) -> AttentionLinks:
        """The trainable 1×1 convolutions of AAL, one per teacher level."""
        links: AttentionLinks = self.link_loss.links
        return links

    @property
    def recorder(self) -> AttentionRecorder:
        """Records the student's attention."""
        recorder: AttentionRecorder = self.link_loss.recorder
        return recorder

    def forward(
        self, images: Tensor, activations: Sequence[Tensor] | None = None, link: bool = True
    ) -> tuple[Any, ...]:
        """Images (B, 3, H, W) → the student's output, and L_att (AAL, Eq. 5), a scalar. If there
        is guidance, its weighted loss, a scalar, is a third value.

        Args:
            activations: teacher maps of every level, (B, C, h, w) each. None: nothing is recorded,
                and both losses are zeros that still reach their parameters.
            link: False means λ = 0: no attention is recorded, and L_att is such a zero.
        """
        linked = self.link_loss if link and activations is not None else None
        guided = self.guidance if activations is not None else None
        for loss in (linked, guided):
            if loss is not None:
                loss.start(images.shape[-2:])
        output = self.student(images)
        if linked is not None:
            distance = linked(activations)
        else:
            distance = images.new_zeros(()) if self.link_loss is None else self.link_loss.idle()
        if self.guidance is None:
            return output, distance
        guidance = self.guidance.idle() if guided is None else guided(activations)
        return output, distance, self.guidance.weight * guidance

    def discard(self) -> None:
        """Stop recording and forget what was recorded, after a forward pass that failed."""
        for loss in (self.link_loss, self.guidance):
            if loss is not None:
                loss.discard()
