"""`AttentionLinkHead`: the trainable links, and λ."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.registry import MODELS

from aal_plugin.core import AttentionLinkLoss
from aal_plugin.core.losses.link_ranges import Links
from aal_plugin.core.losses.map_grid import as_grid
from aal_plugin.core.settings import check_flag

from .teacher_head import ACTIVATIONS, ATTENTION, Classifier, Step, TeacherHead, teacher_of


@MODELS.register_module()
class AttentionLinkHead(TeacherHead):
    """AAL's attention augmentation module and its loss (AAL, Eq. 4 to 6).

    It is thin over `aal_plugin.core.AttentionLinkLoss`. A checkpoint holds the links alone,
    `link_head.links.<level>.weight|bias`; λ follows from the epoch and is not saved.

    Args:
        links: 'full', 'alpha', 'beta', or one (first, last) pair of student blocks for each
            teacher level, 1-based and inclusive.
        loss_weight: λ of epoch 0; `LambdaDecayHook` lowers it.
        map_size: side, or (h, w), of the grid on which maps are compared. Default: the student's
            patch grid, or 14×14 if its blocks have several grids. The distance is a mean over the
            pixels of maps of unit norm: with k times the pixels, k times λ weighs the same.
        antialias: smooth teacher maps before they are made smaller; the paper does not.

    Raises:
        ValueError: a setting is out of range; on `connect`, links that do not fit student and
            teacher.
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

    def connect(self, classifier: Classifier) -> None:
        """Create the links, from the student's attention heads to the teacher's channels."""
        link_loss = AttentionLinkLoss(
            classifier.backbone,
            teacher_of(classifier).channels,
            self.topology,
            self.map_size,
            self.antialias,
            classifier.attention_layers,
        )
        self.links = link_loss.links
        # Not a submodule: a checkpoint names the links `link_head.links.<level>.*`, and once.
        object.__setattr__(self, "link_loss", link_loss)

    def start(self, image_size: Sequence[int]) -> None:
        """Record the student's attention, in a forward pass on images of (H, W) pixels."""
        self.link_loss.start(image_size)

    def discard(self) -> None:
        """Forget what was recorded, after a forward pass that failed."""
        self.link_loss.discard()

    def loss(self, step: Step) -> dict:
        """`loss_link` = λ · L_att, `link_distance` = L_att and `link_weight` = λ."""
        return self.weighted(self.link_loss(step.activations))
