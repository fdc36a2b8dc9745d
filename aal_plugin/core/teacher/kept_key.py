"""What kept maps depend on: the key of their folder, and the numbers of the views."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .frozen_teacher import FrozenTeacher

FILE = "key.json"


def view_number(index: int, shown: int, views: int, seed: int = 0) -> int:
    """The number of the view that an image shows when it was shown `shown` times before.

    An image begins with a view of its own, so that the first epoch shows all kinds of views. The
    views of image i have the numbers from i·K to i·K + K - 1.

    Args:
        index: the image's.
        views: K.

    Example:
        >>> [view_number(index=2, shown=epoch, views=4) for epoch in range(5)]
        [11, 8, 9, 10, 11]
    """
    return index * views + (shown + _offset(seed, index)) % views


@functools.cache  # it takes as long as reading an image's maps
def _offset(seed: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])


def read_key(folder: Path) -> dict[str, Any] | None:
    """The key of a folder of kept maps, or None without one.

    Example:
        >>> read_key(Path("/nowhere"))
    """
    path = folder / FILE
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def check_key(folder: Path, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise ValueError if the maps of a folder are others than this run's; names what differs.

    Example:
        >>> check_key(Path("maps"), {"teacher": "a"}, {"teacher": "a"})
    """
    differs = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
    if differs:
        name = differs[0]
        raise ValueError(
            f"kept_maps={str(folder)!r} holds maps of another {name}: {theirs.get(name)!r}, this "
            f"run has {mine.get(name)!r}"
            + (f" ({', '.join(differs[1:])} differ too)" if differs[1:] else "")
            + "; choose another folder, or delete this one"
        )


def teacher_key(teacher: FrozenTeacher) -> dict[str, Any]:
    """What identifies a teacher that is built: its name, weights, layers, and its pixels.

    Example:
        >>> sorted(teacher_key(FrozenTeacher(torch.nn.Conv2d(3, 4, 1), layers=[""])))
        ['layers', 'normalisation', 'teacher', 'teacher weights']
    """
    total = hashlib.sha256(str(teacher._dtype).encode())
    for name, tensor in teacher.model.state_dict().items():
        plain = tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
        total.update(name.encode() + plain.flatten().view(torch.uint8).numpy().tobytes())
    return {
        "teacher": teacher.name,
        "teacher weights": _short(total),
        "layers": list(teacher.layers),
        "normalisation": teacher.images.key(),
    }


def images_sum(images: Iterable[str | Path | np.ndarray]) -> str:
    """A hash of the images of a data set: names and sizes of files, or values.

    Example:
        >>> images_sum([np.zeros((2, 2))]) == images_sum([np.ones((2, 2))])
        False
    """
    total = hashlib.sha256()
    for image in images:
        if isinstance(image, np.ndarray):
            total.update(np.ascontiguousarray(image).tobytes())
        else:
            path = Path(image)
            size = path.stat().st_size if path.is_file() else 0
            total.update(f"{'/'.join(path.parts[-2:])} {size}\n".encode())
    return _short(total)


def words_of(transform: Any) -> str:
    """The repr of a transform, or its attributes where it has none: never a place in memory.

    Example:
        >>> class Shift:
        ...     def __init__(self): self.by = 3
        >>> words_of([Shift()])
        '[Shift(by=3)]'
    """
    if isinstance(transform, (list, tuple)):
        return f"[{', '.join(map(words_of, transform))}]"
    plain: Any = object.__repr__
    if type(transform).__repr__ is plain:
        own = (f"{name}={words_of(value)}" for name, value in sorted(vars(transform).items()))
        return f"{type(transform).__name__}({', '.join(own)})"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(transform))


def _short(total: Any) -> str:
    return str(total.hexdigest()[:16])
