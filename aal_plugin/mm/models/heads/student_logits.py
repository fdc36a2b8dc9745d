"""Logits of MMPretrain's heads: class token and distillation token separately."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.heads import ClsHead, DeiTClsHead, EfficientFormerClsHead, LeViTClsHead
from torch import Tensor

Logits = tuple[Tensor, Tensor | None]


def student_logits(head: ClsHead, feats: Any) -> Logits:
    """Logits (B, K) of the class token, and of the distillation token if the head has one.

    The heads of distilled models average the two, and warn or stop in training mode; so this
    function calls their layers itself.
    """
    for kind, logits in _DISTILLED.items():
        if isinstance(head, kind):
            return logits(head, feats)
    return head(feats), None


def has_plain_label_loss(head: Any) -> bool:
    """Whether a head's loss is a function of its logits alone, as in ClsHead."""
    if is_distilled(head):
        return True
    return isinstance(head, ClsHead) and type(head).loss is ClsHead.loss


def is_distilled(head: Any) -> bool:
    """Whether MMPretrain itself cannot train this head."""
    return isinstance(head, tuple(_DISTILLED))


def predicted(logits: Logits) -> Tensor:
    """The logits from which the head predicts: the average of both tokens' logits, or the one's."""
    of_class, of_teacher = logits
    return of_class if of_teacher is None else (of_class + of_teacher) / 2


def _deit(head: DeiTClsHead, feats: Any) -> Logits:
    class_token, distillation_token = head.pre_logits(feats)
    return head.layers.head(class_token), head.layers.head_dist(distillation_token)


def _levit(head: LeViTClsHead, feats: Any) -> Logits:
    features = head.pre_logits(feats)
    return head.head(features), head.head_dist(features) if head.distillation else None


def _efficientformer(head: EfficientFormerClsHead, feats: Any) -> Logits:
    features = head.pre_logits(feats)
    return head.head(features), head.dist_head(features) if head.dist else None


_DISTILLED = {
    DeiTClsHead: _deit,
    LeViTClsHead: _levit,
    EfficientFormerClsHead: _efficientformer,
}
