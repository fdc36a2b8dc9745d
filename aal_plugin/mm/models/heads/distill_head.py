"""`DistillHead`: DeiT's soft, hard and token distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS

from aal_plugin.core.losses.distillation import DISTILLATIONS, REDUCTIONS, check_temperature
from aal_plugin.core.settings import check_choice, check_flag, check_number

from .student_logits import predicted
from .teacher_head import (
    TEACHER_LOGITS,
    Step,
    TeacherHead,
    check_classes,
    check_label_loss,
)

if TYPE_CHECKING:
    from aal_plugin.mm.models.classifier import AALClassifier


@MODELS.register_module()
class DistillHead(TeacherHead):
    """Distils the teacher's logits: (1 − λ) · CE(label) + λ · D(teacher) (DeiT, section 4).

    D is τ² · KL for 'soft' and the cross-entropy against the teacher's argmax for 'hard'. With
    `token`, the class token learns the label and the distillation token the teacher, and the
    prediction averages the two; else both terms are of the logits that are predicted from.

    Args:
        kind: 'soft' or 'hard'.
        token: for students with a distillation token (or a second head) of its own.
        loss_weight: λ; DeiT takes 0.5 for 'hard' and 0.1 for 'soft'. By default that.
        temperature: τ of 'soft'; DeiT takes 3.
        reduction: of 'soft'. 'batch' divides the sum over batch and classes by the batch, as the
            paper has it. DeiT's published code divides by batch times classes ('elements'), which
            makes the term a thousandth at 1000 classes.

    Raises:
        ValueError: a setting out of its range; once connected: classes that differ, no
            distillation token, a head whose label loss cannot be told apart.
    """

    name = "distill"
    key = "distill_head"
    needs = frozenset({TEACHER_LOGITS})

    def __init__(
        self,
        kind: str = "hard",
        token: bool = False,
        loss_weight: float | None = None,
        temperature: float = 3.0,
        reduction: str = "batch",
        init_cfg: dict | None = None,
    ) -> None:
        check_choice("distill_head.kind", kind, list(DISTILLATIONS))
        check_flag("distill_head.token", token)
        check_temperature("distill_head.temperature", temperature)
        check_choice("distill_head.reduction", reduction, REDUCTIONS)
        if reduction != "batch" and kind != "soft":
            raise ValueError(
                f"distill_head.reduction={reduction!r} is of no use: kind={kind!r} has no sum over "
                "classes; choose kind='soft', or reduction='batch'"
            )
        weight = loss_weight if loss_weight is not None else dict(soft=0.1, hard=0.5)[kind]
        check_number("distill_head.loss_weight", weight, "0 to 1, or None", low=0, high=1)
        super().__init__(weight, init_cfg)
        self.kind = kind
        self.token = token
        self.temperature = temperature
        self.reduction = reduction

    def connect(self, classifier: AALClassifier) -> None:
        check_label_loss("distill_head", classifier)
        head = classifier.head
        if self.token and not _has_second_logits(head):
            raise ValueError(
                f"distill_head.token=True: model.head {type(head).__name__} has no distillation "
                "token; choose DistilledVisionTransformer with DeiTClsHead, or token=False"
            )
        check_classes("distill_head", classifier)

    def label_loss(self, step: Step) -> dict:
        label = step.student_logits()[0] if self.token else predicted(step.student_logits())
        return dict(loss=(1 - self.weight) * step.label_loss(label))

    def loss(self, step: Step) -> dict:
        """`loss_distill` = λ · D, `distill_distance` = D and `distill_weight` = λ."""
        distilled = step.student_logits()[1] if self.token else predicted(step.student_logits())
        # Detached: gradient transfer asks for logits with the teacher's graph, and frees it.
        distance = DISTILLATIONS[self.kind](
            distilled, step.teacher_logits.detach(), self.temperature, self.reduction
        )
        return self.weighted(distance)


def _has_second_logits(head: ClsHead) -> bool:
    flags = [getattr(head, name, False) for name in ("distillation", "dist")]
    return any(flags) or hasattr(getattr(head, "layers", None), "head_dist")
