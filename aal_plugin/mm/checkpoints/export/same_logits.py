"""Checks that an exported model computes the student's logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmpretrain.models import ImageClassifier
from torch import Tensor

from aal_plugin.core.images import image_channels_of
from aal_plugin.core.student.families import image_size_of


def noise_for(student: ImageClassifier) -> Tensor:
    """Two normalised images of noise of the student's size and channels, (2, C, H, W)."""
    size = image_size_of(student.backbone) or (224, 224)
    channels = image_channels_of(student.backbone)
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def check_same_logits(
    student: ImageClassifier, other: Callable[[Tensor], Tensor], name: str, tolerance: float = 1e-5
) -> None:
    """Raise ValueError if the logits of two models differ by more than `tolerance` on noise.

    Args:
        name: what the other model is, for the error.
        tolerance: absolute, and relative to the student's logits.
    """
    images = noise_for(student)
    own, others = student(images), other(images)
    if own.shape != others.shape or not torch.allclose(own, others, rtol=tolerance, atol=tolerance):
        gap = (own - others).abs().max() if own.shape == others.shape else "their shapes"
        raise ValueError(f"the logits of the student and of {name} differ by {gap}")
