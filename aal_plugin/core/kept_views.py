"""The teacher's maps of views that come again, for a `LinkedStudent` in any loop.

# V views of all images
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .guidance import Guidance
from .linked_student import AttentionLinkLoss, LinkedStudent
from .losses.links import map_grid
from .teacher.frozen_teacher import FrozenTeacher
from .teacher.kept_teacher import Grid, KeptTeacher, keep_maps


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's random draws; afterwards they go on as before.

    Example:
        >>> with seeded(0, 7, 2):
        ...     first = random.random(), np.random.rand(), torch.rand(1)
        >>> with seeded(0, 7, 2):
        ...     first == (random.random(), np.random.rand(), torch.rand(1))
        True
    """
    python, numpy, state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(state)


def kept_teacher(
    linked: LinkedStudent,
    teacher: FrozenTeacher,
    image: Tensor,
    folder: str | Path,
    views: int,
    shown: Mapping[str, Any],
) -> KeptTeacher:
    """A teacher whose maps of V views are kept in a folder, on the grid that the losses compare.

    Args:
        image: (1, 3, H, W), any of the size of the student's images.
        views: V.
        shown: what the views depend on: images, transform, seed.

    Raises:
        ValueError, OSError: see `KeptMaps`.
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
    modes = {module: module.training for module in owner.modules()}
    for module in modes:  # no running statistics and no random draws of this one image
        module.training = False
    for loss in losses:
        loss.start(image.shape[-2:])
    with torch.no_grad():
        student(image)
    for module, mode in modes.items():
        module.training = mode
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
