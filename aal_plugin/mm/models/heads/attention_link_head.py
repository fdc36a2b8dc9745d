"""`AttentionLinkHead`: the trainable links, and λ."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mmengine.logging import print_log
from mmpretrain.registry import MODELS

from aal_plugin.core import AttentionLinkLoss
from aal_plugin.core.losses.link_ranges import Links, as_grid
from aal_plugin.core.settings import check_flag
from aal_plugin.core.student.by_name import AttentionLayers

from .teacher_head import ACTIVATIONS, TeacherHead, teacher_of

if TYPE_CHECKING:
    from aal_plugin.mm.models.classifier import AALClassifier


@MODELS.register_module()
class AttentionLinkHead(TeacherHead):
    """AAL's attention augmentation module and its loss (AAL, Eq. 4 to 6).

    It is thin over `aal_plugin.core.AttentionLinkLoss`: `loss_link` = λ · L_att, and the log has
    `link_distance` = L_att and `link_weight` = λ. A checkpoint holds the links alone,
    `link_head.links.<level>.weight|bias`; λ follows from the epoch and is not saved.

    Args:
        loss_weight: λ of epoch 0; `LambdaDecayHook` lowers it.
        links, map_size, antialias, attention_layers: see `AttentionLinkLoss`.

    Raises:
        ValueError: a setting is out of range; on `connect`, links that do not fit student and
            teacher.
    """

    name = "link"
    key = "link_head"
    needs = frozenset({ACTIVATIONS})

    def __init__(
        self,
        links: Links = "full",
        loss_weight: float = 2000.0,
        map_size: int | tuple[int, int] | None = None,
        antialias: bool = False,
        attention_layers: AttentionLayers | None = None,
    ) -> None:
        super().__init__(loss_weight)
        check_flag("link_head.antialias", antialias)
        size = as_grid(map_size, "link_head.map_size")
        self._settings = (links, size, antialias, attention_layers)

    def connect(self, classifier: AALClassifier) -> None:
        """Create the links, from the student's attention heads to the teacher's channels."""
        channels = teacher_of(classifier).channels
        link_loss = AttentionLinkLoss(classifier.backbone, channels, *self._settings)
        self.links = link_loss.links
        self.record_with(link_loss)

    def train(self, mode: bool = True) -> AttentionLinkHead:
        super().train(mode)
        # MMEngine calls this after its hooks have started, so a LambdaDecayHook has set λ before.
        if mode and not self.weight_is_set:
            self.weight_is_set = True  # warn once
            print_log(
                f"model.link_head.loss_weight (λ) stays {self.loss_weight:g} in every epoch, "
                "because no LambdaDecayHook lowers it; the paper uses default_hooks=dict(aal=dict("
                "type='LambdaDecayHook', gammas=(0.99, 0.98), milestones=(200,))). For a constant "
                "λ without this warning, set gammas=1.0",
                logger="current",
                level=logging.WARNING,
            )
        return self
