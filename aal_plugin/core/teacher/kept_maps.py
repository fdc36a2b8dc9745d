"""Teacher maps that are computed once, kept in a file, and read ever after.

# V views of all images, B batch, C channels of a level, h w that level's kept grid
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aal_plugin.core.losses.resize import resize_maps
from aal_plugin.files import write_whole

from .kept_key import FILE, check_key, read_key
from .packing import Packing

_SUM = 4  # bytes of an entry's checksum


class KeptMaps:
    """A folder with one entry for each view of each image: the teacher's maps, see `Packing`.

    Each entry has a checksum: what a killed run or a full disk left half written, and what another
    key left, counts as absent. Several processes may read and fill the same folder.

    Args:
        folder: created if it does not exist.
        views: V, the number of entries.
        shapes: (C, h, w) of each level.
        key: what the maps depend on: teacher, pixels, images. A folder with another key is
            rejected.
        bits: of a value: 4, 8 or 16.

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
        shapes: Sequence[Sequence[int]],
        key: Mapping[str, Any],
        bits: int = 8,
    ) -> None:
        self.folder = Path(folder)
        self.views = views
        self.packing = Packing(shapes, bits)
        self.shapes = self.packing.shapes
        self.entry = _SUM + self.packing.size
        self._file = self.folder / "maps.bin"
        self._handles: dict[tuple[int, bool], int] = {}
        of_maps = dict(views=views, shapes=self.shapes, bits=bits)
        self.key: dict[str, Any] = json.loads(json.dumps(dict(key, **of_maps)))
        # A folder whose key.json was deleted still holds maps that the key told apart.
        self._salt = zlib.crc32(json.dumps(self.key, sort_keys=True).encode())
        self._claim()

    @classmethod
    def existing(cls, folder: str | Path) -> KeptMaps | None:
        """The maps that a folder holds already, whatever they are of; None if it holds none."""
        key = read_key(Path(folder))
        if key is None:
            return None
        views, shapes, bits = (key.pop(name) for name in ("views", "shapes", "bits"))
        return cls(folder, views, shapes, key, bits)

    def read(self, views: Sequence[int]) -> list[np.ndarray | None]:
        """The entry of each view, bytes (entry,), or None where it is absent or damaged."""
        handle = self._handle(writing=False)
        if handle is None:
            return [None] * len(views)
        return [self._whole(os.pread(handle, self.entry, view * self.entry)) for view in views]

    def write(self, views: Sequence[int], entries: np.ndarray) -> None:
        """Keep the entries (B, entry) of these views."""
        handle = self._handle(writing=True)
        assert handle is not None
        try:
            for view, entry in zip(views, entries):
                if os.pwrite(handle, entry.tobytes(), view * self.entry) < self.entry:
                    raise OSError(errno.ENOSPC, "")  # a disk that fills up takes the first part
        except OSError as error:
            raise self._named(error) from error

    def packed(self, maps: Sequence[Tensor]) -> np.ndarray:
        """Maps (B, C, h, w) of each level → entries (B, entry)."""
        body = self.packing.packed(maps)
        sums = np.array([self._checksum(row.tobytes()) for row in body], dtype="<u4")
        return np.concatenate([sums.view(np.uint8).reshape(-1, _SUM), body], axis=1)

    def unpacked(self, entries: Tensor | np.ndarray) -> list[Tensor]:
        """Entries (B, entry) → maps (B, C, h, w) of each level, float32, on the entries' device."""
        return self.packing.unpacked(torch.as_tensor(entries)[:, _SUM:])

    def complete(self) -> bool:
        """Whether every view has its entry; reads the whole file."""
        return all(entry is not None for view in range(self.views) for entry in self.read([view]))

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return self.entry * self.views

    def _claim(self) -> None:
        """Check the folder's key, or make it if there is none."""
        theirs = read_key(self.folder)
        if theirs is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.check_room()
                # Of two runs that start at once, the second sees the key of the first.
                with open(self._file, "ab") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    theirs = read_key(self.folder)
                    if theirs is None:
                        text = json.dumps(self.key, indent=1, sort_keys=True) + "\n"
                        write_whole(self.folder / FILE, text)
            except OSError as error:
                raise self._named(error) from error
        check_key(self.folder, self.key, theirs or self.key)

    def check_room(self) -> None:
        """Raise OSError if the disk has less room than the missing entries need."""
        kept = self._file.stat().st_blocks * 512 if self._file.exists() else 0
        free, missing = shutil.disk_usage(self.folder).free, self.size - kept
        if free < missing:
            raise OSError(
                errno.ENOSPC,
                f"kept_maps={str(self.folder)!r} needs {missing / 1e9:.2f} GB more for "
                f"{self.views} views, but the disk has {free / 1e9:.2f} GB free; choose fewer "
                "views or another folder",
            )

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
        if "kept_maps=" in str(error.strerror):
            return error
        words = f"kept_maps={str(self.folder)!r}: {os.strerror(error.errno or 0)}"
        return type(error)(error.errno, words)

    def _checksum(self, body: bytes) -> int:
        return zlib.crc32(body, self._salt) or 1  # a hole in the file reads as zeros

    def _whole(self, data: bytes) -> np.ndarray | None:
        if len(data) != self.entry:
            return None
        whole = int.from_bytes(data[:_SUM], "little") == self._checksum(data[_SUM:])
        return np.frombuffer(data, dtype=np.uint8) if whole else None

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _handles={})


class KeptTeacher:
    """A teacher whose maps of known views come from `KeptMaps`; it runs for the others alone.

    If one view of a batch is missing, the teacher runs for the whole batch: an image's maps may
    depend on its batch in the last bit, and a resumed run must compute what an unbroken one does.
    It returns what was kept, so that the first use of a view equals the later ones to the bit.

    Args:
        teacher: images (B, 3, H, W) → (maps of each level, logits).
        kept: where the maps are.
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
        self.teacher = teacher
        self.kept = kept
        self.antialias = antialias
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
            entries: what a loader's worker has read already; the others are read here.
        """
        read: list[np.ndarray | None] = list(entries or [None] * len(views))
        # Another batch may have kept a view since its worker looked for it.
        late = [place for place, entry in enumerate(read) if entry is None]
        for place, entry in zip(late, self.kept.read([views[place] for place in late])):
            read[place] = entry
        found = [entry for entry in read if entry is not None]
        if len(found) == len(read):
            return self._unpacked(np.stack(found), images.device)
        self.passes += 1
        maps = [
            resize_maps(level, shape[1:], self.antialias)
            for level, shape in zip(self.teacher(images)[0], self.kept.shapes)
        ]
        packed = self.kept.packed(maps)
        for place, entry in enumerate(read):
            if entry is not None:
                packed[place] = entry
        missing = [place for place, entry in enumerate(read) if entry is None]
        self.kept.write([views[place] for place in missing], packed[missing])
        return self._unpacked(packed, images.device)

    def _unpacked(self, entries: np.ndarray, device: torch.device) -> list[Tensor]:
        given = torch.from_numpy(entries)
        # From pinned memory, nothing waits for the copy.
        given = given.pin_memory() if device.type == "cuda" else given
        return self.kept.unpacked(given.to(device, non_blocking=True))
