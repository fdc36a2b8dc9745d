"""Checks that an exported model computes the student's logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    student: ImageClassifier, other: Callable[[Tensor], Any], name: str, tolerance: float = 1e-5
) -> None:
    """Raise ValueError if the logits of two models differ by more than `tolerance` on noise.

    Args:
        name: what the other model is, for the error.
        tolerance: absolute, and relative to the student's logits.
    """
    images = noise_for(student)
    own, others = _tensors(student(images)), _tensors(other(images))
    same = [one.shape for one in own] == [one.shape for one in others]
    gaps = [(one - two).abs().max() for one, two in zip(own, others)] if same else []
    if not same or not all(
        torch.allclose(one, two, rtol=tolerance, atol=tolerance) for one, two in zip(own, others)
    ):
        gap = max(gaps) if same else "their shapes"
        raise ValueError(f"the logits of the student and of {name} differ by {gap}")


def _tensors(logits: Any) -> list[Tensor]:
    """One tensor, or one for each task of a MultiTaskHead."""
    if isinstance(logits, Tensor):
        return [logits]
    parts = logits.values() if isinstance(logits, dict) else logits
    return [tensor for part in parts for tensor in _tensors(part)]
