"""An `AALClassifier`'s teacher, whose maps of `RepeatedViews` are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.structures import DataSample
from torch import Tensor

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.teacher.kept_maps import KeptMaps, KeptTeacher, kept_shapes


def views_of(samples: Sequence[DataSample]) -> list[Any] | None:
    """The view that each sample shows, or None where no maps are kept."""
    views = [sample.metainfo.get("view") for sample in samples]
    return views if views and all(view is not None and view.folder for view in views) else None


def kept_teacher(
    teacher: FrozenTeacher, images: Tensor, view: Any, grid: tuple[int, int] | None
) -> KeptTeacher:
    """The teacher with the folder that `view` names.

    Args:
        grid: on which maps are compared; larger ones are kept in this size.

    Raises:
        ValueError, OSError: see `KeptMaps`.
    """
    shapes = kept_shapes(teacher(images[:1])[0], grid)
    key = dict(view.images, teacher=_identity(teacher), layers=list(teacher.layers))
    key["pixels"] = list(images.shape[1:])
    kept = KeptMaps(view.folder, view.count, shapes, key)
    print_log(
        f"kept maps: {view.count} views in {view.folder}, {kept.size / 1e9:.2f} GB in all",
        logger="current",
    )
    return KeptTeacher(teacher, kept)


def _identity(teacher: FrozenTeacher) -> str:
    """A hash of the teacher's weights and of how it receives images."""
    total = hashlib.sha256(repr((teacher.name, str(teacher.images.__dict__))).encode())
    for name, tensor in teacher.model.state_dict().items():
        total.update(name.encode())
        total.update(_bytes_of(tensor))
    return total.hexdigest()[:16]


def _bytes_of(tensor: Tensor) -> bytes:
    plain = tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
    return plain.flatten().view(torch.uint8).numpy().tobytes()
