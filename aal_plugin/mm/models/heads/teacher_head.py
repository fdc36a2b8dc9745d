"""`TeacherHead`: the base of every loss that a teacher drives, and `Step`, what it receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from mmengine.model import BaseModule
from mmpretrain.structures import DataSample
from torch import Tensor

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.settings import check_number

from .student_logits import Logits, has_plain_label_loss, student_logits

if TYPE_CHECKING:
    from aal_plugin.mm.models.classifier import AALClassifier

# An AALClassifier's, by their keys.
HEADS = ("link_head", "distill_head", "transfer_head", "guidance")

# What a loss may need from the student, beside what the head itself records of it:
INPUT_GRADIENT = "input gradient"  # the images as a leaf; double back-propagation runs through them
# and from the teacher:
ACTIVATIONS = "activations"  # maps of every level, (B, C, H, W) each
TEACHER_LOGITS = "teacher logits"  # (B, K)
TEACHER_GRADIENT = "teacher gradient"  # logits that can be differentiated by the images


@dataclass
class Step:
    """What a training step has computed so far; None where no active loss needs it.

    images: (B, 3, H, W). feats: the student's, the input of its head.
    """

    classifier: AALClassifier
    images: Tensor
    data_samples: list[DataSample]
    feats: Any = None
    activations: Any = None  # list of (B, C, H, W) per level
    teacher_logits: Any = None  # (B, K)
    _logits: Logits | None = None

    def student_logits(self) -> Logits:
        """Of the class token, and of the distillation token or None, (B, K) each."""
        if self._logits is None:
            self._logits = student_logits(self.classifier.head, self.feats)
        return self._logits

    def label_losses(self, logits: Tensor) -> dict:
        """What the student's head logs for logits (B, K): `loss`, a mean over the batch, and the
        accuracy if the head has cal_acc=True.
        """
        return self.classifier.head._get_loss(logits, self.data_samples)


class TeacherHead(BaseModule):
    """One loss that a teacher drives, with its weight.

    A subclass names itself and its needs. In `connect` it creates its parameters and says with
    `record_with` what records the student; `loss` returns its loss. `LambdaDecayHook` can lower the
    weight; at 0 nothing is computed.

    Args:
        loss_weight: λ of the first epoch.

    Attributes:
        recording: what records the student between `start` and `loss`, or None: an
            `AttentionLinkLoss`, a `Guidance` or a `FeatureRecorder`.

    Raises:
        ValueError: the weight is negative, infinite or not a number.
    """

    name: str  # of the loss, as it is logged
    key = "transfer_head"  # of the classifier's config
    needs: frozenset[str] = frozenset()
    recording: Any = None

    def __init__(self, loss_weight: float) -> None:
        super().__init__()
        check_number(f"{self.key}.loss_weight", loss_weight, "a finite number, 0 or more", low=0)
        self.loss_weight = float(loss_weight)
        # A tensor, because torch.compile would recompile for each new number. The flag tells that λ
        # is 0 without waiting for the device.
        self.register_buffer("weight", torch.tensor(self.loss_weight), persistent=False)
        self.active = self.loss_weight > 0
        self.weight_is_set = False

    def connect(self, classifier: AALClassifier) -> None:
        """Create the parameters that depend on student and teacher, and check that both fit."""

    def record_with(self, recording: Any) -> None:
        """Set `recording`, not as a submodule: a checkpoint names its parameters once."""
        object.__setattr__(self, "recording", recording)

    def start(self, image_size: Sequence[int]) -> None:
        """Record what this loss needs of the student's next forward pass, on (H, W) pixels."""
        if self.recording is not None:
            self.recording.start(tuple(image_size))

    def discard(self) -> None:
        """Forget what was recorded, after a forward pass that failed."""
        if self.recording is not None:
            self.recording.discard()

    def set_weight(self, weight: float) -> None:
        """Set λ for the next steps."""
        self.weight.fill_(weight)
        self.active = weight > 0
        self.weight_is_set = True

    def label_losses(self, step: Step) -> dict | None:
        """The label's losses, if this head changes them, or None."""
        return None

    def loss(self, step: Step) -> dict:
        """`loss_<name>` = weight · distance, `<name>_distance` and `<name>_weight`."""
        return self.weighted(self.recording(step.activations))

    def weighted(self, distance: Tensor) -> dict:
        """The weighted loss, and the distance and weight for the log."""
        return {
            f"loss_{self.name}": self.weight * distance,
            f"{self.name}_distance": distance.detach(),
            f"{self.name}_weight": self.weight,
        }

    def idle_loss(self, step: Step) -> dict:
        """A zero that reaches every parameter: DDP waits for all gradients."""
        zero = sum((0.0 * parameter.sum() for parameter in self.parameters()), 0.0 * self.weight)
        return {f"loss_{self.name}": zero, f"{self.name}_weight": self.weight}


def teacher_of(classifier: AALClassifier) -> FrozenTeacher:
    """The classifier's teacher, for a head that needs one."""
    assert classifier.teacher is not None
    return classifier.teacher


def check_label_loss(key: str, classifier: AALClassifier) -> None:
    """Raise ValueError unless the head's loss is a function of its logits alone."""
    head = classifier.head if classifier.with_head else None
    if not has_plain_label_loss(head):
        raise ValueError(
            f"{key} computes the label's loss from logits, but model.head={type(head).__name__} "
            "overrides ClsHead.loss; choose a head that does not, such as LinearClsHead, "
            "VisionTransformerClsHead or DeiTClsHead"
        )


def check_classes(key: str, classifier: AALClassifier) -> None:
    """Raise ValueError unless student and teacher have as many classes."""
    classes = getattr(classifier.head, "num_classes", None)
    teachers = teacher_of(classifier).num_classes
    if classes != teachers:
        raise ValueError(
            f"{key}: the student has {classes} classes and the teacher {teachers}; "
            "a loss on the teacher's logits needs equal numbers"
        )
