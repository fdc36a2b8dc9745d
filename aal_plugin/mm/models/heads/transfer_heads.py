"""Heads of attention transfer: by activations, by gradients, and FitNets hints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from aal_plugin.core.feature_recorder import FeatureRecorder
from aal_plugin.core.losses.attention_transfer import (
    ATTENTION_MAPS,
    REDUCTIONS,
    attention_map,
    attention_transfer,
    gradient_norm,
    gradient_transfer,
    hint_distance,
    input_gradient,
    output_symmetry,
    symmetry,
)
from aal_plugin.core.settings import check_choice, check_number
from aal_plugin.core.student.families import image_size_of

from .student_logits import predicted, student_logits
from .teacher_head import (
    ACTIVATIONS,
    FEATURES,
    INPUT_GRADIENT,
    TEACHER_GRADIENT,
    Classifier,
    Step,
    TeacherHead,
    check_classes,
    check_label_loss,
    teacher_of,
)

Pairs = Sequence[tuple[int, int]] | None


class _PairedHead(TeacherHead):
    """Compares levels of the student with levels of the teacher, pair by pair.

    Args:
        pairs: (student level, teacher level), counted from 1; by default the last levels of both,
            in order, as many as both have.
    """

    needs = frozenset({FEATURES, ACTIVATIONS})

    def __init__(self, pairs: Pairs, loss_weight: float, init_cfg: dict | None = None) -> None:
        super().__init__(loss_weight, init_cfg)
        self.pairs = _as_pairs(f"{self.key}.pairs", pairs)

    def connect(self, classifier: Classifier) -> None:
        student = classifier.backbone
        self._recorder = FeatureRecorder(student, classifier.student_layers)
        self.student_channels = self._recorder.channels(student, image_size_of(student) or (64, 64))
        levels = len(self.student_channels), len(teacher_of(classifier).channels)
        if self.pairs is None:
            count = min(levels)
            self.pairs = [(levels[0] - i, levels[1] - i) for i in reversed(range(count))]
        for pair in self.pairs:
            if not all(1 <= n <= most for n, most in zip(pair, levels)):
                raise ValueError(
                    f"{self.key}.pairs: {pair}; choose (student level, teacher level) from 1, "
                    f"at most {levels}"
                )

    def start(self, image_size: Sequence[int]) -> None:
        """Record the student's features, in a forward pass on images of (H, W) pixels."""
        height, width = image_size
        self._recorder.start((height, width))

    def discard(self) -> None:
        """Forget what was recorded, after a forward pass that failed."""
        self._recorder.discard()

    def paired(self, step: Step) -> list[tuple[Tensor, Tensor]]:
        """(student, teacher) feature maps of every pair, (B, C, h, w) each."""
        features, activations = self._recorder.stop(), step.activations
        return [(features[s - 1], activations[t - 1]) for s, t in self.pairs or ()]


@MODELS.register_module()
class ActivationTransferHead(_PairedHead):
    """Attention transfer by activations, summed over pairs (Zagoruyko and Komodakis, Eq. 2).

    Args:
        pairs: (student level, teacher level) pairs, counted from 1; by default the last levels of
            both.
        kind: 'sum' or 'max' over channels of |A|^power.
        reduction: 'mean', the mean of squares as in the authors' code, or 'paper', half the norm.
        loss_weight: β; 10³ belongs to 'mean'.
    """

    name = "transfer"

    def __init__(
        self,
        pairs: Pairs = None,
        kind: str = "sum",
        power: float = 2,
        reduction: str = "mean",
        loss_weight: float = 1000.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(pairs, loss_weight, init_cfg)
        check_choice("transfer_head.kind", kind, list(ATTENTION_MAPS))
        check_choice("transfer_head.reduction", reduction, list(REDUCTIONS))
        check_number("transfer_head.power", power, "a number, 1 or more", low=1)
        self.kind, self.power, self.reduction = kind, power, reduction

    def loss(self, step: Step) -> dict:
        distances = [
            attention_transfer(
                attention_map(student, self.kind, self.power),
                attention_map(teacher, self.kind, self.power),
                self.reduction,
            )
            for student, teacher in self.paired(step)
        ]
        return self.weighted(torch.stack(distances).sum())


@MODELS.register_module()
class HintHead(_PairedHead):
    """FitNets hints: compares features, the student's after a 1×1 convolution (section 4.1.2).

    A pair of equal width is compared directly, without a convolution.

    Args:
        pairs: (student level, teacher level) pairs, counted from 1; by default the last levels of
            both.
        loss_weight: β.
    """

    name = "hint"

    def __init__(
        self, pairs: Pairs = None, loss_weight: float = 1.0, init_cfg: dict | None = None
    ) -> None:
        super().__init__(pairs, loss_weight, init_cfg)

    def connect(self, classifier: Classifier) -> None:
        super().connect(classifier)
        channels = teacher_of(classifier).channels
        self.regressors = nn.ModuleList(
            _regressor(self.student_channels[s - 1], channels[t - 1]) for s, t in self.pairs or ()
        )

    def loss(self, step: Step) -> dict:
        distances = [
            hint_distance(regressor(student), teacher)
            for regressor, (student, teacher) in zip(self.regressors, self.paired(step))
        ]
        return self.weighted(torch.stack(distances).sum())


def _regressor(student: int, teacher: int) -> nn.Module:
    return nn.Identity() if student == teacher else nn.Conv2d(student, teacher, kernel_size=1)


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

    def __init__(
        self, kind: str = "teacher", loss_weight: float = 1.0, init_cfg: dict | None = None
    ) -> None:
        super().__init__(loss_weight, init_cfg)
        check_choice("transfer_head.kind", kind, list(_GRADIENT_LOSSES))
        self.kind = kind
        self.needs = frozenset({INPUT_GRADIENT}) | (
            {TEACHER_GRADIENT} if kind == "teacher" else set()
        )

    def connect(self, classifier: Classifier) -> None:
        check_label_loss("transfer_head", classifier)
        if self.kind == "teacher":
            check_classes("transfer_head", classifier)

    def loss(self, step: Step) -> dict:
        gradient = _input_gradient(step, predicted(step.student_logits()), step.images)
        return self.weighted(_GRADIENT_LOSSES[self.kind](step, gradient))


def _input_gradient(step: Step, logits: Tensor, images: Tensor, twice: bool = True) -> Tensor:
    # A sum over the batch: each image's gradient is that of its own loss.
    return input_gradient(len(images) * step.label_loss(logits), images, twice)


def _teachers(step: Step, gradient: Tensor) -> Tensor:
    teachers = _input_gradient(step, step.teacher_logits, step.images, twice=False)
    return gradient_transfer(gradient, teachers)


def _symmetry(step: Step, gradient: Tensor) -> Tensor:
    flipped = step.images.detach().flip(-1).requires_grad_()
    classifier = step.classifier
    logits = predicted(student_logits(classifier.head, classifier.extract_feat(flipped)))
    outputs = output_symmetry(predicted(step.student_logits()), logits)
    return symmetry(gradient, _input_gradient(step, logits, flipped)) + outputs


def _norm(step: Step, gradient: Tensor) -> Tensor:
    return gradient_norm(gradient)


_GRADIENT_LOSSES = {"teacher": _teachers, "symmetry": _symmetry, "norm": _norm}


def _as_pairs(key: str, pairs: Pairs) -> list[tuple[int, int]] | None:
    """The pairs as tuples of whole numbers, or None.

    Raises:
        ValueError: no pairs, or an entry that is not a pair; the error names it.
    """
    if pairs is None:
        return None
    allowed = "(student level, teacher level) pairs of whole numbers, one or more, or None"
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise ValueError(f"{key}={pairs!r}; choose {allowed}")
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"{key}: {pair!r}; choose {allowed}")
        if not all(isinstance(n, int) and not isinstance(n, bool) for n in pair):
            raise ValueError(f"{key}: {pair!r}; choose {allowed}")
    return [tuple(pair) for pair in pairs]
