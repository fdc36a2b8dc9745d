"""`Distillation`: DeiT's losses on the teacher's logits, beside the links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.losses.distillation import DISTILLATIONS, check_distillation


@dataclass
class Distillation:
    """(1 - λ) · task loss + λ · loss on the teacher's logits.

    Args:
        kind: 'soft', KL divergence at a temperature, or 'hard', the teacher's preferred class.
        token: the distillation token's logits take that loss, and the class token's the task
            loss; for students with such a token, timm's distilled DeiT and PiT.
        loss_weight: λ; by default DeiT's, 0.1 for 'soft' and 0.5 for 'hard'.
        temperature: τ of 'soft'.
        reduction: of 'soft'. 'batch' divides the sum over batch and classes by the batch, as the
            paper has it. DeiT's published code divides by batch times classes ('elements'), which
            makes the term a thousandth at 1000 classes.

    Raises:
        ValueError: a setting out of its range.
    """

    kind: str
    token: bool = False
    loss_weight: float | None = None
    temperature: float = 3.0
    reduction: str = "batch"

    def __post_init__(self) -> None:
        settings = (self.token, self.loss_weight, self.temperature, self.reduction)
        self.loss_weight = check_distillation("distill", self.kind, *settings)

    def check(self, student: nn.Module, teacher: FrozenTeacher, multi_label: bool = False) -> None:
        """Raise ValueError unless the two have the same classes, and the student its token."""
        if multi_label:
            raise ValueError(
                f"distill.kind={self.kind!r} compares classes of which an image has one, but this "
                "task is of many labels; remove distill"
            )
        own, others = student.num_classes, teacher.num_classes
        if own != others:
            raise ValueError(
                f"distill.kind={self.kind!r} compares logits, but the student has {own} classes "
                f"and the teacher {others}; they must have the same classes"
            )
        # PiT's plain variants have the method, but no head for a second token.
        has_token = getattr(student, "head_dist", None) is not None
        if self.token and not (has_token and hasattr(student, "set_distilled_training")):
            raise ValueError(
                f"distill.token=True, but {type(student).__name__} has no distillation token; "
                "choose a distilled DeiT or PiT, or distill.token=False"
            )

    def split(self, output: Any) -> tuple[Tensor, Tensor]:
        """The student's output → logits for the labels, logits for the teacher, (B, K) each."""
        return output if self.token else (output, output)

    def __call__(
        self, task_loss: Tensor, logits: Tensor, teacher_logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both losses, weighted by 1 - λ and λ, and the loss on the teacher's logits alone."""
        distill_loss = DISTILLATIONS[self.kind](
            logits, teacher_logits, self.temperature, self.reduction
        )
        weight = cast(float, self.loss_weight)  # set in __post_init__
        return (1 - weight) * task_loss + weight * distill_loss, distill_loss
