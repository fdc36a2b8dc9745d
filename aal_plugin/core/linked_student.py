"""`LinkedStudent`: a student and its links as one module, for any training loop.

# B batch, C channels of a teacher level, h w map grid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from .attention_link_loss import AttentionLinkLoss
from .losses.link_ranges import Links
from .losses.links import AttentionLinks
from .student.attention_recorder import AttentionRecorder
from .student.by_name import AttentionLayers


class LinkedStudent(nn.Module):
    """The one module that the optimizer, DDP, EMA and `torch.compile` receive.

    Every trainable part runs inside this module's forward pass, as DDP requires. `student` keeps
    its own parameter names below `student.`; `link_loss` is an `AttentionLinkLoss`. After
    training, `student` is what you keep.

    Args:
        student, channels, links, map_size, antialias, attention_layers: see `AttentionLinkLoss`.

    Example:
        >>> import timm, torch
        >>> from aal_plugin.core import TimmTeacher
        >>> teacher = TimmTeacher("test_resnet", allow_random_weights=True)
        >>> model = LinkedStudent(timm.create_model("test_vit"), teacher.channels)
        >>> images = torch.randn(2, 3, 160, 160)
        >>> activations, _ = teacher(images)
        >>> logits, distance = model(images, activations)
        >>> logits.shape, distance.requires_grad
        (torch.Size([2, 1000]), True)
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
        self.student = student
        self.link_loss = AttentionLinkLoss(
            student, channels, links, map_size, antialias, attention_layers
        )

    @property
    def links(self) -> AttentionLinks:
        """The trainable 1×1 convolutions, one per teacher level."""
        return self.link_loss.links

    @property
    def recorder(self) -> AttentionRecorder:
        """Records the student's attention."""
        return self.link_loss.recorder

    def forward(
        self, images: Tensor, activations: Sequence[Tensor] | None = None
    ) -> tuple[Any, Tensor]:
        """Images (B, 3, H, W) → the student's output, and L_att (AAL, Eq. 5), a scalar.

        Args:
            activations: teacher maps of every level, (B, C, h, w) each. None means λ = 0: no
                attention is recorded, and L_att is a zero that still reaches the links.
        """
        if activations is None:
            return self.student(images), self.link_loss.idle()
        self.link_loss.start(images.shape[-2:])
        output = self.student(images)
        return output, self.link_loss(activations)
