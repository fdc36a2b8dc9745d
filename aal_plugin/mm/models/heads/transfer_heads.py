"""Heads of attention transfer: by activations, by gradients, and FitNets hints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from aal_plugin.core.losses.attention_transfer import (
    ATTENTION_MAPS,
    REDUCTIONS,
    attention_map,
    attention_transfer,
    half_norm,
    input_gradient,
)
from aal_plugin.core.losses.link_ranges import as_pair
from aal_plugin.core.precision import at_least_float32
from aal_plugin.core.settings import check_choice, check_number
from aal_plugin.core.student.families import image_size_of
from aal_plugin.core.student.feature_recorder import FeatureRecorder
from aal_plugin.core.student_losses import Guidance

from .student_logits import predicted, student_logits
from .teacher_head import (
    ACTIVATIONS,
    INPUT_GRADIENT,
    TEACHER_GRADIENT,
    Step,
    TeacherHead,
    check_classes,
    check_label_loss,
    teacher_of,
)

if TYPE_CHECKING:
    from aal_plugin.mm.models.classifier import AALClassifier

Pairs = Sequence[tuple[int, int]] | None


@MODELS.register_module()
class ActivationTransferHead(TeacherHead):
    """Attention transfer by activations, summed over pairs (Zagoruyko and Komodakis, Eq. 2).

    Args:
        pairs: (student level, teacher level), counted from 1; by default the last levels of both.
        kind: 'sum' or 'max' over channels of |A|^power.
        reduction: 'mean', the mean of squares as in the authors' code, or 'paper', half the norm.
        loss_weight: β; 10³ belongs to 'mean'.
        student_layers: names of the backbone's modules that are the student's levels; by default
            a CNN's stages or a transformer's blocks, see `FeatureRecorder`.
    """

    name = "transfer"
    needs = frozenset({ACTIVATIONS})

    def __init__(
        self,
        pairs: Pairs = None,
        kind: str = "sum",
        power: float = 2,
        reduction: str = "mean",
        loss_weight: float = 1000.0,
        student_layers: Sequence[str] | None = None,
    ) -> None:
        super().__init__(loss_weight)
        check_choice("transfer_head.kind", kind, list(ATTENTION_MAPS))
        check_choice("transfer_head.reduction", reduction, list(REDUCTIONS))
        check_number("transfer_head.power", power, "a number, 1 or more", low=1)
        self.kind, self.power, self.reduction = kind, power, reduction
        self._pairs, self._layers = _as_pairs(pairs), student_layers

    def connect(self, classifier: AALClassifier) -> None:
        recorder, self.pairs = _paired(classifier, self._pairs, self._layers)
        self.record_with(recorder)

    def loss(self, step: Step) -> dict:
        features, activations = self.recording.stop(), step.activations
        distances = []
        for own, theirs in self.pairs:
            student, teacher = (
                attention_map(maps, self.kind, self.power)
                for maps in (features[own - 1], activations[theirs - 1])
            )
            distances.append(attention_transfer(student, teacher, self.reduction))
        return self.weighted(torch.stack(distances).sum())


@MODELS.register_module()
class HintHead(TeacherHead):
    """FitNets hints: compares features, the student's after a 1×1 convolution (section 4.1.2).

    It is `aal_plugin.core.student_losses.Guidance` with pairs of one's own: features of unit norm,
    and no convolution for a pair of equal width.

    Args:
        pairs, student_layers: see `ActivationTransferHead`.
        loss_weight: β.
    """

    name = "hint"
    needs = frozenset({ACTIVATIONS})

    def __init__(
        self,
        pairs: Pairs = None,
        loss_weight: float = 1.0,
        student_layers: Sequence[str] | None = None,
    ) -> None:
        super().__init__(loss_weight)
        self._pairs, self._layers = _as_pairs(pairs), student_layers

    def connect(self, classifier: AALClassifier) -> None:
        _, self.pairs = _paired(classifier, self._pairs, self._layers)
        blocks, levels = zip(*self.pairs)
        channels = teacher_of(classifier).channels
        guidance = Guidance(
            classifier.backbone, channels, 1.0, blocks, levels, student_layers=self._layers
        )
        self.regressors = guidance.regressors
        self.record_with(guidance)


def _as_pairs(pairs: Any) -> list[tuple[int, int]] | None:
    if pairs is None:
        return None
    found = [as_pair(pair) for pair in pairs] if isinstance(pairs, (list, tuple)) else []
    if not found or None in found:
        raise ValueError(
            f"transfer_head.pairs={pairs!r}; choose (student level, teacher level) pairs of whole "
            "numbers, one or more, or None"
        )
    return [pair for pair in found if pair is not None]


def _paired(
    classifier: AALClassifier, pairs: list[tuple[int, int]] | None, layers: Sequence[str] | None
) -> tuple[FeatureRecorder, list[tuple[int, int]]]:
    """A recorder of the student's levels, and the pairs of student and teacher level."""
    student = classifier.backbone
    recorder = FeatureRecorder(student, layers, "transfer_head.student_layers")
    own = len(recorder.channels(student, image_size_of(student) or (64, 64)))
    teachers = len(teacher_of(classifier).channels)
    if pairs is None:
        pairs = [(own - i, teachers - i) for i in reversed(range(min(own, teachers)))]
    for pair in pairs:
        if not (1 <= pair[0] <= own and 1 <= pair[1] <= teachers):
            raise ValueError(
                f"transfer_head.pairs: {pair}; choose (student level, teacher level) from 1, "
                f"at most {(own, teachers)}"
            )
    return recorder, pairs


@MODELS.register_module()
class GradientTransferHead(TeacherHead):
    """Attention transfer by the gradient at the image, J = ∂L/∂x (section 3.2).

    Double back-propagation: the student's J is itself differentiated. The student's head computes
    the label's loss, of the teacher's logits too.

    Args:
        kind: 'teacher' pulls J to the teacher's (Eq. 4). 'symmetry' pulls J and the logits to those
            of the flipped image (Eq. 6 and its text). 'norm' pulls J to zero (Drucker and LeCun,
            1992). The last two need no teacher.
        loss_weight: β.
    """

    name = "gradient"

    def __init__(self, kind: str = "teacher", loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_choice("transfer_head.kind", kind, list(_GRADIENT_LOSSES))
        self.kind = kind
        self.needs = frozenset({INPUT_GRADIENT}) | (
            {TEACHER_GRADIENT} if kind == "teacher" else set()
        )

    def connect(self, classifier: AALClassifier) -> None:
        check_label_loss("transfer_head", classifier)
        if self.kind == "teacher":
            check_classes("transfer_head", classifier)

    def loss(self, step: Step) -> dict:
        gradient = _input_gradient(step, predicted(step.student_logits()), step.images)
        return self.weighted(_GRADIENT_LOSSES[self.kind](step, gradient))


def _input_gradient(step: Step, logits: Tensor, images: Tensor, twice: bool = True) -> Tensor:
    # A sum over the batch: each image's gradient is that of its own loss.
    return input_gradient(len(images) * step.label_losses(logits)["loss"], images, twice)


def _teachers(step: Step, gradient: Tensor) -> Tensor:
    return half_norm(
        gradient - _input_gradient(step, step.teacher_logits, step.images, twice=False)
    )


def _symmetry(step: Step, gradient: Tensor) -> Tensor:
    flipped = step.images.detach().flip(-1).requires_grad_()
    classifier = step.classifier
    own = predicted(step.student_logits())
    logits = predicted(student_logits(classifier.head, classifier.extract_feat(flipped)))
    gradients = half_norm(gradient - _input_gradient(step, logits, flipped).flip(-1))
    return gradients + half_norm(at_least_float32(own) - at_least_float32(logits))


def _norm(step: Step, gradient: Tensor) -> Tensor:
    return 2 * half_norm(gradient)


_GRADIENT_LOSSES = {"teacher": _teachers, "symmetry": _symmetry, "norm": _norm}
