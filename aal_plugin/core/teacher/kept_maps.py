"""Teacher maps that are computed once, kept in a file, and read ever after.

# V views of all images, B batch, C channels of a level, h w that level's kept grid
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aal_plugin.core.losses.resize import resize_maps
from aal_plugin.files import write_whole

_LEVELS = 255  # of 8 bits
_SUM = 4  # bytes of an entry's checksum


class KeptMaps:
    """A folder with one entry for each view of each image: the teacher's maps, in 8 bits a value.

    A map is stored between its smallest and its largest value, which are stored beside it, so both
    its shape and its size are kept. Each entry has a checksum: what a killed run or a full disk
    left half written counts as absent. Several processes may read and fill the same folder.

    Args:
        folder: created if it does not exist.
        views: V, the number of entries.
        shapes: (C, h, w) of each level.
        key: what the maps depend on: teacher, pixels, images. A folder with another key is
            rejected.

    Raises:
        ValueError: the folder holds maps of another teacher or of other images; names what differs.
        OSError: the disk has less room than the missing entries need, or the folder is read-only.

    Example:
        >>> import tempfile
        >>> kept = KeptMaps(tempfile.mkdtemp(), views=2, shapes=[(3, 4, 4)], key={"teacher": "a"})
        >>> entries = kept.packed([torch.rand(1, 3, 4, 4)])
        >>> kept.write([1], entries)
        >>> [entry is None for entry in kept.read([0, 1])], kept.unpacked(entries)[0].shape
        ([True, False], torch.Size([1, 3, 4, 4]))
    """

    def __init__(
        self,
        folder: str | Path,
        views: int,
        shapes: Sequence[tuple[int, int, int]],
        key: Mapping[str, Any],
    ) -> None:
        self.folder = Path(folder)
        self.views = views
        self.shapes = [(int(c), int(h), int(w)) for c, h, w in shapes]
        self.maps = sum(shape[0] for shape in self.shapes)
        values = sum(prod(shape) for shape in self.shapes)
        self.entry = _SUM + 8 * self.maps + values
        self._file = self.folder / "maps.bin"
        self._handles: dict[tuple[int, bool], int] = {}
        self._check_key(dict(key, views=views, shapes=[list(shape) for shape in self.shapes]))

    def read(self, views: Sequence[int]) -> list[np.ndarray | None]:
        """The entry of each view, bytes (entry,), or None where it is absent or damaged."""
        handle = self._handle(writing=False)
        if handle is None:
            return [None] * len(views)
        return [
            _checked(os.pread(handle, self.entry, view * self.entry), self.entry) for view in views
        ]

    def write(self, views: Sequence[int], entries: np.ndarray) -> None:
        """Keep the entries (B, entry) of these views."""
        handle = self._handle(writing=True)
        assert handle is not None
        for view, entry in zip(views, entries):
            try:
                os.pwrite(handle, entry.tobytes(), view * self.entry)
            except OSError as error:
                raise self._named(error) from error

    def packed(self, maps: Sequence[Tensor]) -> np.ndarray:
        """Maps (B, C, h, w) of each level → entries (B, entry)."""
        bounds, values = [], []
        for level in maps:
            flat = level.detach().float().flatten(2)
            low, high = flat.amin(-1), flat.amax(-1)
            step = (high - low) / _LEVELS
            scaled = (flat - low[..., None]) / step.clamp_min(torch.finfo(torch.float32).tiny)[
                ..., None
            ]
            bounds.append(torch.stack((low, step), dim=-1))  # (B, C, 2)
            values.append(scaled.round().clamp(0, _LEVELS).to(torch.uint8).flatten(1))
        first = np.ascontiguousarray(torch.cat(bounds, dim=1).flatten(1).cpu().numpy())
        body = np.concatenate(
            [first.view(np.uint8), torch.cat(values, dim=1).cpu().numpy()], axis=1
        )
        sums = np.array([_checksum(row.tobytes()) for row in body], dtype="<u4")
        return np.concatenate([sums.view(np.uint8).reshape(-1, _SUM), body], axis=1)

    def unpacked(self, entries: Tensor | np.ndarray) -> list[Tensor]:
        """Entries (B, entry) → maps (B, C, h, w) of each level, float32, on the entries' device."""
        entries = torch.as_tensor(entries)
        bounds = entries[:, _SUM : _SUM + 8 * self.maps].contiguous().view(torch.float32)
        bounds = bounds.view(len(entries), self.maps, 2)
        values = entries[:, _SUM + 8 * self.maps :]
        ends = np.cumsum([0, *(prod(shape) for shape in self.shapes)]).tolist()
        channels = np.cumsum([0, *(shape[0] for shape in self.shapes)]).tolist()
        maps = []
        for (start, end), (first, last), shape in zip(
            pairwise(ends), pairwise(channels), self.shapes
        ):
            low, step = bounds[:, first:last].unbind(-1)
            level = values[:, start:end].float().view(len(entries), shape[0], -1)
            level = torch.addcmul(low[..., None], level, step[..., None])
            maps.append(level.view(len(entries), *shape))
        return maps

    def complete(self) -> bool:
        """Whether every view has its entry; reads the whole file."""
        return all(entry is not None for view in range(self.views) for entry in self.read([view]))

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return self.entry * self.views

    def _check_key(self, key: dict[str, Any]) -> None:
        path = self.folder / "key.json"
        mine = json.loads(json.dumps(key))
        if path.is_file():
            theirs = json.loads(path.read_text(encoding="utf-8"))
            differs = sorted(k for k in {*mine, *theirs} if mine.get(k) != theirs.get(k))
            if differs:
                name = differs[0]
                raise ValueError(
                    f"kept_maps={str(self.folder)!r} holds maps of another {name}: "
                    f"{theirs.get(name)!r}, this run has {mine.get(name)!r}"
                    + (f" ({', '.join(differs[1:])} differ too)" if differs[1:] else "")
                    + "; choose another folder, or delete this one"
                )
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if free < self.size:
                raise OSError(
                    errno.ENOSPC,
                    f"kept_maps={str(self.folder)!r} needs {self.size / 1e9:.2f} GB for "
                    f"{self.views} views, but the disk has {free / 1e9:.2f} GB free; choose fewer "
                    "views or another folder",
                )
            write_whole(path, json.dumps(mine, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            raise self._named(error) from error

    def _handle(self, writing: bool) -> int | None:
        """This process's own handle: a forked worker must not share its parent's."""
        place = (os.getpid(), writing)
        if place not in self._handles:
            if not writing and not self._file.exists():
                return None
            flags = os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY
            try:
                self._handles[place] = os.open(self._file, flags, 0o644)
            except OSError as error:
                raise self._named(error) from error
        return self._handles[place]

    def _named(self, error: OSError) -> OSError:
        if error.filename is None and "kept_maps=" in str(error.strerror):
            return error
        return type(error)(
            error.errno, f"kept_maps={str(self.folder)!r}: {os.strerror(error.errno or 0)}"
        )

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _handles={})


class KeptTeacher:
    """A teacher whose maps of known views come from `KeptMaps`; it runs for the others alone.

    If one view of a batch is missing, the teacher runs for the whole batch: the maps of an image
    may depend on its batch in the last bit, and a resumed run must compute what an unbroken one
    does. What it returns is always what was kept, so that the first use of a view equals the
    later ones to the bit.

    Args:
        teacher: images (B, 3, H, W) → (maps of each level, logits).
        kept: where the maps are.

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
        self, teacher: Callable[[Tensor], tuple[list[Tensor], Any]], kept: KeptMaps
    ) -> None:
        self.teacher = teacher
        self.kept = kept
        self.passes = 0  # batches for which the teacher has run

    def __call__(
        self,
        images: Tensor,
        views: Sequence[int],
        entries: Sequence[np.ndarray | None] | None = None,
    ) -> list[Tensor]:
        """Maps (B, C, h, w) of each level, on the images' device.

        Args:
            images: (B, 3, H, W).
            views: the number of each image's view, from 0 to V - 1.
            entries: what a loader's worker has read already; by default they are read here.
        """
        read = self.kept.read(views) if entries is None else list(entries)
        found = [entry for entry in read if entry is not None]
        if len(found) == len(read):
            return self.kept.unpacked(torch.from_numpy(np.stack(found)).to(images.device))
        self.passes += 1
        maps = [
            resize_maps(level, shape[1:])
            for level, shape in zip(self.teacher(images)[0], self.kept.shapes)
        ]
        packed = self.kept.packed(maps)
        for place, entry in enumerate(read):
            if entry is not None:
                packed[place] = entry
        missing = [place for place, entry in enumerate(read) if entry is None]
        self.kept.write([views[place] for place in missing], packed[missing])
        return self.kept.unpacked(torch.from_numpy(packed).to(images.device))


def kept_shapes(
    maps: Sequence[Tensor], grid: tuple[int, int] | None = None
) -> list[tuple[int, int, int]]:
    """(C, h, w) of each level, no larger than the grid on which maps are compared.

    Example:
        >>> kept_shapes([torch.zeros(1, 8, 56, 56), torch.zeros(1, 16, 7, 7)], grid=(14, 14))
        [(8, 14, 14), (16, 7, 7)]
    """
    shapes = []
    for level in maps:
        channels, height, width = level.shape[1:]
        smaller = grid is not None and (height > grid[0] or width > grid[1])
        shapes.append((channels, *grid) if smaller and grid else (channels, height, width))
    return shapes


def _checksum(body: bytes) -> int:
    return zlib.crc32(body) or 1  # a hole in the file reads as zeros


def _checked(data: bytes, size: int) -> np.ndarray | None:
    if len(data) != size:
        return None
    whole = int.from_bytes(data[:_SUM], "little") == _checksum(data[_SUM:])
    return np.frombuffer(data, dtype=np.uint8) if whole else None
