"""The teacher's maps of views that come again, for a `LinkedStudent` in any loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .images import trial
from .linked_student import LinkedStudent
from .losses.links import map_grid
from .teacher.frozen_teacher import FrozenTeacher
from .teacher.kept_key import teacher_key
from .teacher.kept_maps import KeptMaps, KeptTeacher
from .teacher.packing import kept_shapes


def kept_teacher(
    linked: LinkedStudent,
    teacher: FrozenTeacher,
    image: Tensor,
    folder: str | Path,
    views: int,
    shown: Mapping[str, Any],
) -> KeptTeacher:
    """A teacher whose maps of V views are kept in a folder, on the grid that the losses compare.

    `image`, (1, 3, H, W), is any of the size of the student's images. `shown` is what the views
    depend on: images, transform, seed.
    """
    unchecked = teacher.images._unchecked
    maps, _ = teacher(image)
    teacher.images._unchecked = unchecked  # this image is not the first batch
    grid, antialias = _compared(linked, image)
    key = dict(shown, grid=grid, antialias=antialias, pixels=list(image.shape[1:]))
    kept = KeptMaps(folder, views, kept_shapes(maps, grid), dict(key, **teacher_key(teacher)))
    return KeptTeacher(teacher, kept, antialias)


def _compared(linked: LinkedStudent, image: Tensor) -> tuple[tuple[int, int] | None, bool]:
    """The one grid on which links and guidance compare maps, and whether they smooth maps before.

    The grid is None if the maps are kept as they are.
    """
    links, guidance = linked.link_loss, linked.guidance
    losses = [loss for loss in (links, guidance) if loss is not None]
    for loss in losses:
        loss.start(image.shape[-2:])
    with trial(linked):
        linked.student(image)
    found = set()
    if links is not None:
        recorded = map_grid(links.recorder.stop())
        found.add((links.map_size or recorded, links.antialias))
    if guidance is not None:
        found |= {((maps.shape[-2], maps.shape[-1]), False) for maps in guidance.features()}
    return found.pop() if len(found) == 1 else (None, False)
