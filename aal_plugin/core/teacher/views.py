"""Views of images that come again: their numbers, and what they depend on.

# K views of each image
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def view_number(index: int, shown: int, views: int, seed: int = 0) -> int:
    """The number of the view that an image shows when it was shown `shown` times before.

    An image begins with a view of its own, so that the first epoch shows all kinds of views. The
    K views of image i have the numbers from i·K to i·K + K - 1.

    Example:
        >>> [view_number(index=2, shown=epoch, views=4) for epoch in range(5)]
        [11, 8, 9, 10, 11]
    """
    return index * views + (shown + _offset(seed, index)) % views


@functools.cache  # it takes as long as reading an image's maps
def _offset(seed: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])


def images_sum(images: Iterable[str | Path | np.ndarray]) -> str:
    """A hash of the images of a data set: names and sizes of files, or values."""
    total = hashlib.sha256()
    for image in images:
        if isinstance(image, np.ndarray):
            total.update(np.ascontiguousarray(image).tobytes())
        else:
            path = Path(image)
            size = path.stat().st_size if path.is_file() else 0
            total.update(f"{'/'.join(path.parts[-2:])} {size}\n".encode())
    return total.hexdigest()[:16]


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
