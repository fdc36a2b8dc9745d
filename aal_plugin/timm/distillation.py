"""`Distillation`: DeiT's losses on the teacher's logits, beside the links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.losses.distillation import DISTILLATIONS, REDUCTIONS, check_temperature
from aal_plugin.core.settings import check_choice, check_flag, check_number

# DeiT's usual shares of the loss.
SHARES = dict(soft=0.1, hard=0.5)


@dataclass
class Distillation:
    """(1 - share) · task loss + share · loss on the teacher's logits.

    Args:
        kind: 'soft', KL divergence at a temperature, or 'hard', the teacher's preferred class.
        token: the distillation token's logits take that loss, and the class token's the task
            loss; for students with such a token, timm's distilled DeiT and PiT.
        share: by default 0.1 for 'soft' and 0.5 for 'hard'.
        temperature: τ of 'soft'.
        reduction: of 'soft'. 'batch' divides the sum over batch and classes by the batch, as the
            paper has it. DeiT's published code divides by batch times classes ('elements'), which
            makes the term a thousandth at 1000 classes.

    Raises:
        ValueError: a setting out of its range.
    """

    kind: str
    token: bool = False
    share: float | None = None
    temperature: float = 3.0
    reduction: str = "batch"

    def __post_init__(self) -> None:
        check_choice("distill.kind", self.kind, list(DISTILLATIONS))
        check_flag("distill.token", self.token)
        self.share = SHARES[self.kind] if self.share is None else self.share
        check_number("distill.share", self.share, "a share in [0, 1]", low=0, high=1)
        check_temperature("distill.temperature", self.temperature)
        check_choice("distill.reduction", self.reduction, REDUCTIONS)
        if self.reduction != "batch" and self.kind != "soft":
            raise ValueError(
                f"distill.reduction={self.reduction!r} is of no use: distill.kind={self.kind!r} "
                "has no sum over classes"
            )

    def check(self, student: nn.Module, teacher: FrozenTeacher) -> None:
        """Raise ValueError unless the two have the same classes, and the student its token."""
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
        """Both losses by their shares, and the loss on the teacher's logits alone."""
        distill_loss = DISTILLATIONS[self.kind](
            logits, teacher_logits, self.temperature, self.reduction
        )
        return (1 - self.share) * task_loss + self.share * distill_loss, distill_loss
