"""The images that a student takes: their size, noise of that size, and equal logits on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from torch import Tensor

from aal_plugin.core.images import image_channels_of
from aal_plugin.core.student.families import image_size_of
from aal_plugin.core.teacher.teacher_images import checked_size
from aal_plugin.mm.configs.files import data_sets
from aal_plugin.mm.dry_run.made_up_data import MadeUpImages, image_size_before

Size = int | Sequence[int]


def noise_for(student: ImageClassifier, config: Config, size: Size | None = None) -> Tensor:
    """Two normalised images of noise of the student's size and channels, (2, C, H, W).

    Args:
        size: a side or (H, W); by default what the backbone was built for, else what the test
            pipeline makes of every image, else 224.

    Raises:
        ValueError: a size that is no whole number, or that the student does not take.
    """
    found = {
        "--image-size": checked_size("--image-size", size),
        "the backbone": image_size_of(student.backbone),
        "the test pipeline": _after_the_pipeline(config),
        "nothing in the config, so 224 is assumed": (224, 224),
    }
    source, (height, width) = next((s, size) for s, size in found.items() if size is not None)
    channels = image_channels_of(student.backbone)
    images = torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            student(images)
    except Exception as error:  # of a lab's own backbone too
        raise ValueError(
            f"the student does not take images of {height}×{width} ({source} says so): {error}; "
            "give the size that it was trained with as --image-size"
        ) from error
    return images


def _after_the_pipeline(config: Config) -> tuple[int, int] | None:
    """(H, W) of two images of different shape after the test pipeline, if it is the same."""
    loader = config.get("test_dataloader") or config.get("val_dataloader") or {}
    for _, dataset in data_sets("", loader.get("dataset")):
        before = image_size_before(dataset)
        with suppress(Exception):  # a transform may need what made-up images do not have
            sizes = {
                tuple(MadeUpImages(1, dataset.get("pipeline", ()), 2, size)[0]["inputs"].shape[-2:])
                for size in (before, before[::-1])
            }
            if len(sizes) == 1:
                return sizes.pop()
    return None


@torch.no_grad()
def check_same_logits(
    student: ImageClassifier,
    other: Callable[[Tensor], Any],
    images: Tensor,
    name: str,
    tolerance: float = 1e-5,
) -> None:
    """Raise ValueError if the logits of two models differ by more than `tolerance`.

    Args:
        name: what the other model is, for the error.
        tolerance: absolute, and relative to the student's logits.
    """
    own, others = _tensors(student(images)), _tensors(other(images))
    if [one.shape for one in own] != [one.shape for one in others]:
        raise ValueError(f"the logits of the student and of {name} differ by their shapes")
    for one, two in zip(own, others):
        if not torch.allclose(one, two, rtol=tolerance, atol=tolerance):
            gap = (one - two).abs().max()
            raise ValueError(f"the logits of the student and of {name} differ by {gap}")


def _tensors(logits: Any) -> list[Tensor]:
    """One tensor, or one for each task of a MultiTaskHead."""
    if isinstance(logits, Tensor):
        return [logits]
    parts = logits.values() if isinstance(logits, dict) else logits
    return [tensor for part in parts for tensor in _tensors(part)]
