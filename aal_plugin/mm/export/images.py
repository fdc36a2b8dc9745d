"""The images that a student takes: noise of their size, and equal logits on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from torch import Tensor
from torch.utils._pytree import tree_flatten

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
    known = checked_size("--image-size", size) or image_size_of(student.backbone)
    height, width = known or _after_the_pipeline(config) or (224, 224)
    shape = 2, image_channels_of(student.backbone), height, width
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            student(images)
    except Exception as error:  # of a lab's own backbone too
        raise ValueError(
            f"the student does not take images of {height}×{width}: {error}; set --image-size to "
            "the size that it was trained with"
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
    """Raise ValueError if the logits of two models, or of a task, differ by more than `tolerance`.

    Args:
        name: what the other model is, for the error.
        tolerance: absolute, and relative to the student's logits.
    """
    own, others = (tree_flatten(model(images))[0] for model in (student, other))
    for one, two in zip(own, others, strict=True):
        if not torch.allclose(one, two, rtol=tolerance, atol=tolerance):
            gap = (one - two).abs().max()
            raise ValueError(f"the logits of the student and of {name} differ by {gap}")
