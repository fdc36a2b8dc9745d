"""`AALClassifier`: ImageClassifier with a teacher that is there in training alone."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, List, Optional, Union

from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core import AttentionTaps, FrozenTeacher, Unregistered
from ..core.named_taps import TapNames


@MODELS.register_module()
class AALClassifier(ImageClassifier):
    """Trains a ViT with attention links to a frozen CNN (AAL, Eq. 6).

    Outputs, and the cost of them, are ImageClassifier's; so are the parameters, but for
    `link_head.*`. The teacher is in neither state dict nor parameters.

    Args:
        backbone: a ViT whose attention is known to `aal_plugin.core.families`, or told by `taps`.
        teacher: a `TimmTeacher` or `MMTeacher`.
        link_head: an `AttentionLinkHead`.
        taps: the attention modules of a backbone of no known family, by their names in it; see
            `aal_plugin.core.named_taps.named_tapping`.
        neck, head, **kwargs: ImageClassifier's own.

    Raises:
        ValueError: backbone, teacher and links do not fit together; the message names the key.
    """

    def __init__(
        self,
        backbone: dict,
        teacher: Union[dict, FrozenTeacher],
        neck: Optional[dict] = None,
        head: Optional[dict] = None,
        link_head: Optional[dict] = None,
        taps: Optional[TapNames] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        if link_head is None:
            raise ValueError(
                "AALClassifier got no link_head, so its teacher would teach nothing; give "
                "link_head=dict(type='AttentionLinkHead'), or use ImageClassifier"
            )
        if not isinstance(teacher, nn.Module):
            teacher = MODELS.build(teacher)
        if not isinstance(link_head, nn.Module):
            link_head = MODELS.build(link_head)
        pixels = self.data_preprocessor
        teacher.match_input(
            *(v if v is None else v.flatten().tolist() for v in _normalisation(pixels)),
            rgb=getattr(pixels, "to_rgb", True),
        )
        self._teacher = Unregistered(teacher)
        self.taps = AttentionTaps(self.backbone, taps)
        self.link_head = link_head
        self.link_head.connect(self.taps.heads, teacher.channels)

    @property
    def teacher(self) -> FrozenTeacher:
        return self._teacher.module

    def loss(self, inputs: Tensor, data_samples: List[DataSample]) -> dict:
        """The head's losses and the link head's; inputs (B, 3, H, W)."""
        if not self.link_head.active:
            return dict(super().loss(inputs, data_samples), **self.link_head.idle_loss())
        self.taps.start(inputs.shape[-2:])
        losses = super().loss(inputs, data_samples)
        maps = self.taps.stop()
        activations, _ = self.teacher(inputs)
        return dict(losses, **self.link_head.loss(maps, activations))

    def train(self, mode: bool = True) -> AALClassifier:
        super().train(mode)
        _make_checkpoints_nonreentrant(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> AALClassifier:
        self._teacher.apply(fn)
        return super()._apply(fn, *args, **kwargs)


def _normalisation(pixels: nn.Module) -> tuple:
    return getattr(pixels, "mean", None), getattr(pixels, "std", None)


def _make_checkpoints_nonreentrant(model: nn.Module) -> None:
    """Let gradients reach the taps inside MMEngine's `activation_checkpointing`.

    It wraps forward methods in reentrant checkpoints, whose first pass runs without gradients:
    attention kept from there would teach the links but never the student.
    """
    for module in model.modules():
        forward = vars(module).get("forward")
        scope = getattr(forward, "__globals__", {}).get("__name__")
        if scope == "mmengine.runner.activation_checkpointing":
            module.forward = partial(checkpoint, forward.__wrapped__, use_reentrant=False)
