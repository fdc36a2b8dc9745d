"""A teacher whose maps of known views are kept.

# V views of all images, B batch, C channels of a level, h w that level's kept grid
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aal_plugin.core.losses.resize import resize_maps

from .frozen_teacher import FrozenTeacher
from .kept_maps import KeptMaps, read_key

Grid = tuple[int, int]


class KeptTeacher:
    """A teacher whose maps of known views come from `KeptMaps`; it runs for the others alone.

    If one view of a batch is missing, the teacher runs for the whole batch: an image's maps depend
    on its batch in the last bit, and a resumed run must compute what an unbroken one does. What it
    returns is what was kept: the first use of a view equals the later ones to the bit.

    Args:
        teacher: images (B, 3, H, W) → (maps of each level, logits).
        antialias: smooth before a map is made smaller, as links with `antialias` do.

    Example:
        >>> import tempfile
        >>> kept = KeptMaps(tempfile.mkdtemp(), views=9, shapes=[(3, 2, 2)], key={})
        >>> teacher = KeptTeacher(lambda images: ([images[..., :2, :2]], None), kept)
        >>> images = torch.rand(2, 3, 4, 4)
        >>> first = teacher(images, views=[4, 7])
        >>> torch.equal(first[0], teacher(images.zero_(), views=[4, 7])[0])
        True
    """

    def __init__(
        self,
        teacher: Callable[[Tensor], tuple[list[Tensor], Any]],
        kept: KeptMaps,
        antialias: bool = False,
    ) -> None:
        self.teacher, self.kept, self.antialias = teacher, kept, antialias
        self.passes = 0  # batches for which the teacher has run

    def __call__(
        self,
        images: Tensor,
        views: Sequence[int],
        entries: Sequence[np.ndarray | None] | None = None,
    ) -> list[Tensor]:
        """Maps (B, C, h, w) of each level, on the images' device.

        Args:
            views: the number of each image's view, from 0 to V - 1.
            entries: what a loader's worker has read already; the others are read here.
        """
        # Another batch may have kept a view since its worker looked for it.
        read = [
            self.kept.read([view])[0] if entry is None else entry
            for view, entry in zip(views, entries or [None] * len(views))
        ]
        found = [entry for entry in read if entry is not None]
        if len(found) == len(read):
            return self._unpacked(np.stack(found), images.device)
        self.passes += 1
        maps = [
            resize_maps(level, shape[1:], self.antialias)
            for level, shape in zip(self.teacher(images)[0], self.kept.shapes)
        ]
        packed = self.kept.packed(maps)
        missing = [place for place, entry in enumerate(read) if entry is None]
        self.kept.write([views[place] for place in missing], packed[missing])
        whole = [new if entry is None else entry for new, entry in zip(packed, read)]
        return self._unpacked(np.stack(whole), images.device)

    def _unpacked(self, entries: np.ndarray, device: torch.device) -> list[Tensor]:
        given = torch.from_numpy(entries)
        if device.type == "cuda":  # from pinned memory, nothing waits for the copy
            given = given.pin_memory()
        return self.kept.unpacked(given.to(device, non_blocking=True))


def keep_maps(
    teacher: Any,
    image: Tensor,
    folder: str | Path,
    views: int,
    shown: Mapping[str, Any],
    grid: Grid | None = None,
    antialias: bool = False,
    bits: int = 8,
    known: Mapping[str, Any] | None = None,
) -> KeptTeacher:
    """A teacher whose maps of V views are kept in a folder, under a key of all they depend on.

    Args:
        teacher: a `FrozenTeacher`; with `known`, what builds it when it is called.
        image: (1, 3, H, W), any of the size of the student's images.
        shown: what the views depend on: images, transform, seed.
        grid, antialias: how maps are made smaller before they are kept; None: not at all.
        known: `teacher_key` of a teacher that is not built, of which the folder holds maps.
    """
    key = dict(shown, grid=grid, antialias=antialias, pixels=list(image.shape[1:]))
    if known is not None:  # shapes follow from the key
        shapes = (read_key(Path(folder)) or {})["shapes"]
    else:
        unchecked = teacher.images.unchecked
        shapes = kept_shapes(teacher(image)[0], grid)
        teacher.images.unchecked = unchecked  # this image is not the first batch
    key.update(teacher_key(teacher) if known is None else known)
    kept = KeptMaps(folder, views, shapes, key, bits)
    return KeptTeacher(teacher, kept, antialias)


def kept_shapes(maps: Sequence[Tensor], grid: Grid | None = None) -> list[tuple[int, int, int]]:
    """(C, h, w) of each level, no larger than the grid on which maps are compared.

    Example:
        >>> kept_shapes([torch.zeros(1, 8, 56, 56), torch.zeros(1, 16, 7, 7)], grid=(14, 14))
        [(8, 14, 14), (16, 7, 7)]
    """
    shapes = []
    for level in maps:
        channels, height, width = level.shape[1:]
        if grid is not None and (height > grid[0] or width > grid[1]):
            height, width = grid
        shapes.append((channels, height, width))
    return shapes


def teacher_key(teacher: FrozenTeacher) -> dict[str, Any]:
    """What identifies a teacher: its name, weights and layers, and its pixels."""
    total = hashlib.sha256(str(teacher._dtype).encode())
    for name, tensor in teacher.model.state_dict().items():
        plain = tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
        total.update(name.encode() + plain.flatten().view(torch.uint8).numpy().tobytes())
    return {
        "teacher": teacher.name,
        "teacher weights": total.hexdigest()[:16],
        "layers": list(teacher.layers),
        "normalisation": teacher.images.key(),
    }
