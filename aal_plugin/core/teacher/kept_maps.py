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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aal_plugin.files import write_whole

from .packing import Shape, check_bits, packed, packed_size, unpacked

_SUM = 4  # bytes of an entry's checksum


class KeptMaps:
    """A folder with one entry for each view of each image: the teacher's maps, see `packing`.

    Each entry has a checksum: what a killed run or a full disk left half written, and what another
    key left, counts as absent. Several processes may read and fill the same folder.

    Args:
        folder: created if it does not exist.
        views: V, the number of entries.
        shapes: (C, h, w) of each level.
        key: what the maps depend on: teacher, pixels, images.
        bits: of a value: 4, 8 or 16.

    Raises:
        ValueError: the folder holds maps of another teacher or of other images; names what differs.
        OSError: the disk has less room than all entries need, or the folder cannot be made.

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
        check_bits("bits", bits)
        self.folder, self.views, self.bits = Path(folder), views, bits
        self.shapes: list[Shape] = [(int(c), int(h), int(w)) for c, h, w in shapes]
        self.entry = _SUM + packed_size(self.shapes, bits)  # bytes
        self.size = self.entry * views
        self._file = self.folder / "maps.bin"
        self._handles: dict[int, int] = {}
        whole = dict(key, views=views, shapes=self.shapes, bits=bits)
        self.key: dict[str, Any] = json.loads(json.dumps(whole))
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
        if os.O_RDONLY not in self._handles and not self._file.exists():
            return [None] * len(views)
        handle = self._handle(os.O_RDONLY)
        found = (os.pread(handle, self.entry, view * self.entry) for view in views)
        return [np.frombuffer(one, np.uint8) if self._is_whole(one) else None for one in found]

    def write(self, views: Sequence[int], entries: np.ndarray) -> None:
        """Keep the entries (B, entry) of these views."""
        handle = self._handle(os.O_RDWR | os.O_CREAT)
        with self._named():
            for view, entry in zip(views, entries):
                if os.pwrite(handle, entry.tobytes(), view * self.entry) < self.entry:
                    raise OSError(errno.ENOSPC, "")  # a disk that fills up takes the first part

    def packed(self, maps: Sequence[Tensor]) -> np.ndarray:
        """Maps (B, C, h, w) of each level → entries (B, entry)."""
        body = packed(maps, self.bits)
        sums = np.array([self._checksum(row.tobytes()) for row in body], dtype="<u4")
        return np.concatenate([sums.view(np.uint8).reshape(-1, _SUM), body], axis=1)

    def unpacked(self, entries: Tensor | np.ndarray) -> list[Tensor]:
        """Entries (B, entry) → maps (B, C, h, w) of each level, float32, on the entries' device."""
        return unpacked(torch.as_tensor(entries)[:, _SUM:], self.shapes, self.bits)

    def complete(self) -> bool:
        """Whether every view has its entry; reads the whole file."""
        return all(self.read([view])[0] is not None for view in range(self.views))

    def _claim(self) -> None:
        """Make the folder and its key, or check the key that is there."""
        theirs = read_key(self.folder)
        with self._named():
            self.folder.mkdir(parents=True, exist_ok=True)
        self._check_room()
        if theirs is None:
            # Of two runs that start at once, the second sees the key of the first.
            with self._named(), open(self._file, "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                theirs = read_key(self.folder)
                if theirs is None:
                    text = json.dumps(self.key, indent=1, sort_keys=True) + "\n"
                    write_whole(self.folder / "key.json", text)
        _check_key(self.folder, self.key, theirs or self.key)

    def _check_room(self) -> None:
        """Raise OSError if the disk has less room than the missing entries need."""
        kept = self._file.stat().st_blocks * 512 if self._file.exists() else 0
        free, missing = shutil.disk_usage(self.folder).free, self.size - kept
        if free < missing:
            raise OSError(
                errno.ENOSPC,
                f"kept_maps={str(self.folder)!r} needs {missing / 1e9:.2f} GB more for {self.views}"
                f" views, but the disk has {free / 1e9:.2f} GB free; choose fewer views or another "
                "folder",
            )

    def _handle(self, flags: int) -> int:
        """Opened once: forked workers may share it, because pread and pwrite move no position."""
        if flags not in self._handles:
            with self._named():
                self._handles[flags] = os.open(self._file, flags, 0o644)
        return self._handles[flags]

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors of the disk name the folder."""
        try:
            yield
        except OSError as error:
            words = f"kept_maps={str(self.folder)!r}: {os.strerror(error.errno or 0)}"
            raise type(error)(error.errno, words) from error

    def _checksum(self, body: bytes) -> int:
        return zlib.crc32(body, self._salt) or 1  # a hole in the file reads as zeros

    def _is_whole(self, data: bytes) -> bool:
        given = int.from_bytes(data[:_SUM], "little")
        return len(data) == self.entry and given == self._checksum(data[_SUM:])

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__, _handles={})


def read_key(folder: Path) -> dict[str, Any] | None:
    """The key of a folder of kept maps, or None without one."""
    path = folder / "key.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _check_key(folder: Path, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Raise ValueError if the maps of a folder are others than this run's."""
    differs = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
    if differs:
        name = differs[0]
        raise ValueError(
            f"kept_maps={str(folder)!r} holds maps of another {name}: {theirs.get(name)!r}, this "
            f"run has {mine.get(name)!r}"
            + (f" ({', '.join(differs[1:])} differ too)" if differs[1:] else "")
            + "; choose another folder, or delete this one"
        )
