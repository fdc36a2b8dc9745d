"""`GuidanceHead`: what `AALClassifier(guidance=...)` stands for."""

from __future__ import annotations

from collections.abc import Sequence

from aal_plugin.core.guidance import GuidanceSetting, guidance_settings
from aal_plugin.core.student_losses import Guidance

from .teacher_head import ACTIVATIONS, Classifier, Step, TeacherHead, teacher_of


class GuidanceHead(TeacherHead):
    """Locality guidance, thin over `aal_plugin.core.student_losses.Guidance`.

    A checkpoint holds its 1×1 convolutions alone, `guidance.regressors.<pair>.weight|bias`.

    Args:
        guidance: the weight, or a dict of the arguments of `Guidance`.
    """

    name = "guidance"
    key = "guidance"
    needs = frozenset({ACTIVATIONS})

    def __init__(self, guidance: GuidanceSetting) -> None:
        self._settings = guidance_settings(guidance)
        super().__init__(self._settings["weight"])

    def connect(self, classifier: Classifier) -> None:
        channels = teacher_of(classifier).channels
        guidance = Guidance(classifier.backbone, channels, **self._settings)
        self.regressors = guidance.regressors
        # Not a submodule: a checkpoint names the convolutions once.
        object.__setattr__(self, "guidance", guidance)

    def start(self, image_size: Sequence[int]) -> None:
        self.guidance.start(image_size)

    def discard(self) -> None:
        self.guidance.discard()

    def map_grids(self) -> set[tuple[int, int]]:
        return {(maps.shape[-2], maps.shape[-1]) for maps in self.guidance.features()}

    def loss(self, step: Step) -> dict:
        """`loss_guidance` is weighted; `guidance_distance` and `guidance_weight` are logged."""
        return self.weighted(self.guidance(step.activations))
