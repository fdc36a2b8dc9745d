"""`DistillHead`: DeiT's soft, hard and token distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS
from torch import Tensor

from aal_plugin.core.losses.distillation import DISTILLATIONS, check_distillation

from .student_logits import predicted
from .teacher_head import TEACHER_LOGITS, Step, TeacherHead, check_classes, check_label_loss

if TYPE_CHECKING:
    from aal_plugin.mm.models.classifier import AALClassifier


@MODELS.register_module()
class DistillHead(TeacherHead):
    """Distils the teacher's logits: (1 − λ) · CE(label) + λ · D(teacher) (DeiT, section 4).

    D is τ² · KL for 'soft', and the cross-entropy with the teacher's argmax for 'hard'. With
    `token`, the class token learns the label, the distillation token learns the teacher, and the
    prediction averages both; otherwise both terms use the logits of the prediction.

    Args:
        kind: 'soft' or 'hard'.
        token: the distillation token (or second head) learns from the teacher.
        loss_weight: λ; by default DeiT's, 0.5 for 'hard' and 0.1 for 'soft'.
        temperature: τ of 'soft'; DeiT uses 3.
        reduction: of 'soft'. 'batch' divides the sum over batch and classes by the batch size, as
            in the paper. 'elements' divides it by batch size times classes, as in DeiT's published
            code: with 1000 classes the loss is then a thousand times smaller.

    Raises:
        ValueError: a setting is out of range; on `connect`, student and teacher have different
            classes, the student has no distillation token, or its head has a loss of its own.
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
    ) -> None:
        settings = (kind, token, loss_weight, temperature, reduction)
        super().__init__(check_distillation(self.key, *settings))
        self.kind, self.token = kind, token
        self.temperature, self.reduction = temperature, reduction

    def connect(self, classifier: AALClassifier) -> None:
        check_label_loss("distill_head", classifier)
        head = classifier.head
        if self.token and not _has_second_logits(head):
            raise ValueError(
                f"distill_head.token=True: model.head {type(head).__name__} has no distillation "
                "token; choose DistilledVisionTransformer with DeiTClsHead, or token=False"
            )
        check_classes("distill_head", classifier)

    def label_losses(self, step: Step) -> dict:
        # At λ = 0 too: with `token` the label never becomes the distillation token's.
        label = step.student_logits()[0] if self.token else predicted(step.student_logits())
        losses = step.label_losses(label)
        return dict(losses, loss=(1 - self.weight) * losses["loss"])

    def loss(self, step: Step) -> dict:
        """`loss_distill` = λ · D, `distill_distance` = D and `distill_weight` = λ."""
        # Detached: gradient transfer needs these logits with the teacher's graph, and frees it.
        distance = DISTILLATIONS[self.kind](
            self._distilled(step), step.teacher_logits.detach(), self.temperature, self.reduction
        )
        return self.weighted(distance)

    def idle_loss(self, step: Step) -> dict:
        # With `token`, nothing else gives the distillation token's layer a gradient at λ = 0.
        losses = super().idle_loss(step)
        losses["loss_distill"] = losses["loss_distill"] + 0.0 * self._distilled(step).sum()
        return losses

    def _distilled(self, step: Step) -> Tensor:
        distilled = step.student_logits()[1] if self.token else predicted(step.student_logits())
        assert distilled is not None  # `connect` has checked the head
        return distilled


def _has_second_logits(head: ClsHead) -> bool:
    flags = [getattr(head, name, False) for name in ("distillation", "dist")]
    return any(flags) or hasattr(getattr(head, "layers", None), "head_dist")
