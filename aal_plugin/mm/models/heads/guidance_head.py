"""`GuidanceHead`: what `AALClassifier(guidance=...)` stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aal_plugin.core.guidance import GuidanceSetting, guidance_settings
from aal_plugin.core.student_losses import Guidance

from .teacher_head import ACTIVATIONS, TeacherHead, teacher_of

if TYPE_CHECKING:
    from aal_plugin.mm.models.classifier import AALClassifier


class GuidanceHead(TeacherHead):
    """Locality guidance, thin over `aal_plugin.core.student_losses.Guidance`.

    A checkpoint holds its 1×1 convolutions alone, `guidance.regressors.<pair>.weight|bias`.

    Args:
        guidance: the weight, or a dict of the arguments of `Guidance`.
    """

    name = key = "guidance"
    needs = frozenset({ACTIVATIONS})

    def __init__(self, guidance: GuidanceSetting) -> None:
        self._settings = guidance_settings(guidance)
        super().__init__(self._settings["weight"])

    def connect(self, classifier: AALClassifier) -> None:
        channels = teacher_of(classifier).channels
        guidance = Guidance(classifier.backbone, channels, **self._settings)
        self.regressors = guidance.regressors
        self.record_with(guidance)
