"""`AttentionLinkHead`: the trainable links and λ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmpretrain.registry import MODELS

from aal_plugin.core import AttentionLinks, link_ranges
from aal_plugin.core.losses.links import Links, as_grid
from aal_plugin.core.settings import check_flag

from .teacher_head import ACTIVATIONS, ATTENTION, Step, TeacherHead

if TYPE_CHECKING:
    from aal_plugin.mm.models.classifier import AALClassifier


@MODELS.register_module()
class AttentionLinkHead(TeacherHead):
    """AAL's attention augmentation module and its loss (AAL, Eq. 4 to 6).

    Training state is the links alone, `links.<level>.weight|bias`; λ follows from the epoch and
    is not saved.

    Args:
        links: 'full', 'alpha', 'beta', or one (first, last) pair of student blocks for each
            teacher level, 1-based and inclusive.
        loss_weight: λ of epoch 0; `LambdaDecayHook` lowers it.
        map_size: side, or (h, w), of the grid on which maps are compared; by default the
            student's patch grid, or 14 where its blocks have several.
        antialias: smooth teacher maps before they are made smaller; the paper does not.

    Raises:
        ValueError: a setting out of its range; unknown links once connected.
    """

    name = "link"
    key = "link_head"
    needs = frozenset({ATTENTION, ACTIVATIONS})

    def __init__(
        self,
        links: Links = "full",
        loss_weight: float = 2000.0,
        map_size: int | tuple[int, int] | None = None,
        antialias: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(loss_weight, init_cfg)
        self.topology = links
        self.map_size = as_grid(map_size, "link_head.map_size")
        check_flag("link_head.antialias", antialias)
        self.antialias = antialias

    def connect(self, classifier: AALClassifier) -> None:
        """Make the links, from the heads of each student block and the channels of each level."""
        heads, channels = classifier.attention_recorder.heads, classifier.teacher.channels
        ranges = link_ranges(self.topology, len(channels), len(heads))
        self.links = AttentionLinks(ranges, heads, channels)

    def loss(self, step: Step) -> dict:
        """`loss_link` = λ · L_att, `link_distance` = L_att and `link_weight` = λ."""
        distance = self.links.distance(
            step.seen[ATTENTION], step.activations, self.map_size, self.antialias
        )
        return self.weighted(distance)
