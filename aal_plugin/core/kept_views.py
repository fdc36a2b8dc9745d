"""The teacher's maps of views that come again, for a `LinkedStudent` in any loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .images import trial
from .linked_student import LinkedStudent
from .losses.links import map_grid
from .student_losses import AttentionLinkLoss, Guidance
from .teacher.frozen_teacher import FrozenTeacher
from .teacher.kept_teacher import Grid, KeptTeacher, keep_maps


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
    losses = [loss for loss in (linked.link_loss, linked.guidance) if loss is not None]
    grid, antialias = compared_grid(linked, losses, image, linked.student)
    return keep_maps(teacher, image, folder, views, shown, grid, antialias)


def compared_grid(
    owner: nn.Module, losses: Sequence[Any], image: Tensor, student: Callable[[Tensor], Any]
) -> tuple[Grid | None, bool]:
    """The one grid on which losses compare maps, and whether they smooth maps before.

    The grid is None if the maps are kept as they are: the losses compare on several grids, or one
    is neither of links nor guidance, and may do more with a map than compare it.

    Args:
        owner: of student and losses.
        image: (1, 3, H, W), with which `student` runs once.
    """
    for loss in losses:
        loss.start(image.shape[-2:])
    with trial(owner):
        student(image)
    found: set[tuple[Grid | None, bool]] = set()
    for loss in losses:
        if isinstance(loss, AttentionLinkLoss):
            found.add((loss.map_size or map_grid(loss.recorder.stop()), loss.antialias))
        elif isinstance(loss, Guidance):
            found |= {((maps.shape[-2], maps.shape[-1]), False) for maps in loss.features()}
        else:
            loss.discard()
            found.add((None, False))
    return found.pop() if len(found) == 1 else (None, False)
