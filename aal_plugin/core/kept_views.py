"""Views of images that come again: which is shown when, its random draws, its teacher's maps.

# K views of each image, V views of all images, B batch
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .linked_student import AttentionLinkLoss
from .losses.links import map_grid
from .teacher.frozen_teacher import FrozenTeacher
from .teacher.kept_maps import KeptMaps, KeptTeacher, kept_shapes


def view_of(image: int, shown: int, views: int, seed: int) -> int:
    """The view, 0 to K - 1, of an image that was shown `shown` times before.

    Each image begins with a view of its own, so that a batch does not show first views alone.

    Example:
        >>> [view_of(7, shown, views=3, seed=0) for shown in range(4)]
        [2, 0, 1, 2]
    """
    offset = int(np.random.SeedSequence((seed, image)).generate_state(1)[0])
    return (shown + offset) % views


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
    teacher: FrozenTeacher,
    images: Tensor,
    folder: str | Path,
    views: int,
    shown: Mapping[str, Any],
    grid: tuple[int, int] | None,
) -> KeptTeacher:
    """A teacher whose maps of V views are kept in a folder.

    Args:
        images: (B, 3, H, W), for their size; one of them is tried.
        views: V.
        shown: what the views depend on: images, transform, seed.
        grid: maps are kept no larger than this grid; None: as they are.

    Raises:
        ValueError, OSError: see `KeptMaps`.
    """
    unchecked = teacher.images._unchecked
    shapes = kept_shapes(teacher(images[:1])[0], grid)
    teacher.images._unchecked = unchecked  # one image is not the first batch
    key = dict(shown, teacher=_identity(teacher), layers=list(teacher.layers))
    key["pixels"] = list(images.shape[1:])
    return KeptTeacher(teacher, KeptMaps(folder, views, shapes, key))


def compared_grid(
    link_loss: AttentionLinkLoss, model: nn.Module, run: Callable[[Tensor], Any], images: Tensor
) -> tuple[int, int]:
    """The grid on which a link loss compares maps; finds it with one image where it is not set.

    Args:
        model: the module that holds the student.
        run: images (B, 3, H, W) → anything; runs the student.
    """
    if link_loss.map_size is not None:
        return link_loss.map_size
    modes = {module: module.training for module in model.modules()}
    for module in modes:  # no running statistics and no random draws of this one image
        module.training = False
    link_loss.start(images.shape[-2:])
    with torch.no_grad():
        run(images[:1])
    for module, mode in modes.items():
        module.training = mode
    return map_grid(link_loss.recorder.stop())


def _identity(teacher: FrozenTeacher) -> str:
    """A hash of the teacher's weights and of how it receives images."""
    modules, state = vars(nn.Module()), teacher.images
    images = {k: v for k, v in vars(state).items() if k not in modules and k != "_unchecked"}
    buffers = [buffer.flatten().tolist() for buffer in state.buffers()]
    total = hashlib.sha256(repr((teacher.name, str(teacher._dtype), images, buffers)).encode())
    for name, tensor in teacher.model.state_dict().items():
        plain = tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
        total.update(name.encode() + plain.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]
