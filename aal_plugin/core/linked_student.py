"""`LinkedStudent`: the method in any training loop.

# B batch, C channels of a teacher level, h w map grid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .guidance import GuidanceSetting, guidance_settings
from .losses.link_ranges import Links
from .losses.links import AttentionLinks
from .student.attention_recorder import AttentionRecorder
from .student.by_name import AttentionLayers
from .student_losses import AttentionLinkLoss, Guidance


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
