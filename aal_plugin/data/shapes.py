"""The embedded data set: ten shapes over cluttered backgrounds, drawn, not downloaded.

A small substitute for ImageNet: a CNN learns it from 10,000 images in a minute; a ViT alone hardly
learns it from 2,000. Images are drawn once, then read from a cache.

    python -m aal_plugin.data --export DIR --train 2000 --val 1000
"""

from __future__ import annotations

import math
import os
import sys
import uuid
import warnings
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .scene import draw_scene
from .silhouettes import CLASSES

SPLITS = ("train", "val", "test")
MIN_SIZE = 16

# Part of a cache file's name: raise it with every change that changes a drawn byte.
_VERSION = 1
_LABEL_STREAM = 1
# Seeds from here on draw test images. Smaller ones draw, in turn, training and validation images.
_TEST_SEEDS = 1 << 62


class Shapes(NamedTuple):
    """Images (N, s, s, 3) uint8 RGB, labels (N,) int64, boxes (N, 4) int64.

    A box is x1, y1, x2, y2 in pixels, tight around the shape, x2 and y2 exclusive.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray


def draw_shapes(num: int, size: int = 64, seed: int = 0, progress: str = "") -> Shapes:
    """Draw the set. Image i depends only on (seed, i, size), not on `num` or the machine.

    Images 0–9, 10–19, … hold each class once.

    Args:
        progress: what a bar with the time left, on stderr, says; by default there is none.

    Raises:
        ValueError: num, seed or size is not a whole number or is too small (size: 16).

    Example:
        >>> shapes = draw_shapes(10, size=16)
        >>> shapes.images.shape, sorted(shapes.labels.tolist()) == list(range(10))
        ((10, 16, 16, 3), True)
    """
    check_whole("num", num, 1)
    check_whole("size", size, MIN_SIZE)
    check_whole("seed", seed, 0)
    shapes = Shapes(
        np.empty((num, size, size, 3), np.uint8),
        _labels(num, seed),
        np.empty((num, 4), np.int64),
    )
    order: Iterable[int] = range(num)
    if progress:
        from tqdm import tqdm  # here: drawing without a bar needs only NumPy

        order = tqdm(order, desc=progress, unit="image", mininterval=0.5, file=sys.stderr)
    for i in order:
        scene = draw_scene(int(shapes.labels[i]), size, _generator(seed, i))
        shapes.images[i], shapes.boxes[i] = scene.image, scene.box()
    return shapes


def load_shapes(
    num: int,
    size: int = 64,
    seed: int = 0,
    cache_dir: str | os.PathLike | None = None,
) -> Shapes:
    """`draw_shapes`, cached in a file of `cache_dir` ($AAL_CACHE, else ~/.cache/aal_plugin).

    A damaged file is drawn again. Several processes may draw the same file at once: each writes a
    file of its own and moves it into place.
    """
    folder = Path(cache_dir or os.environ.get("AAL_CACHE") or "~/.cache/aal_plugin").expanduser()
    path = folder / f"shapes-v{_VERSION}_n{num}_s{size}_seed{seed}.npz"
    cached = _read(path, num, size)
    if cached is not None:
        return cached
    shapes = draw_shapes(num, size, seed, f"shapes, {num} of {size} px")
    try:
        _write(path, shapes)
    except OSError as error:  # a full or read-only disk only makes the next run slower
        warnings.warn(f"the shapes could not be cached: {error}", stacklevel=2)
    return shapes


def split_seed(split: str, seed: int) -> int:
    """The seed that draws a split; each pair of split and seed has its own, so no image repeats."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r}; choose 'train', 'val' or 'test'")
    check_whole("seed", seed, 0)
    return _TEST_SEEDS + seed if split == "test" else 2 * seed + SPLITS.index(split)


def check_whole(key: str, value: Any, low: int) -> None:
    """Raise ValueError unless value is a whole number, at least `low`.

    `aal_plugin.core.settings` has the same check, but importing `core` would load torch.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise ValueError(f"{key}={value!r}; choose a whole number, {low} or more")


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(key))


def _labels(num: int, seed: int) -> np.ndarray:
    labels = []
    for block in range(math.ceil(num / len(CLASSES))):
        # The third word makes this stream differ from those of the images.
        order = _generator(seed, block, _LABEL_STREAM).random(len(CLASSES)).tolist()
        labels += sorted(range(len(CLASSES)), key=order.__getitem__)
    return np.array(labels[:num], np.int64)


def _read(path: Path, num: int, size: int) -> Shapes | None:
    """The cached shapes; None if the file does not exist or cannot be used."""
    if not path.exists():
        return None
    try:
        # Opened here: np.load leaves a damaged archive's file open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            shapes = Shapes(*(file[name] for name in Shapes._fields))
        found = [array.shape for array in shapes]
        if found != [(num, size, size, 3), (num,), (num, 4)]:
            raise ValueError(f"its arrays have shapes {found}")
        return shapes
    except Exception as error:  # a damaged archive raises one of a dozen types
        text = f"drawing the shapes again, because {path} cannot be used: {error}"
        warnings.warn(text, stacklevel=3)
        return None


def _write(path: Path, shapes: Shapes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder: a move is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, **shapes._asdict())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
