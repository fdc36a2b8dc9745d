"""Checks that a file is a complete checkpoint, before it is loaded."""

from __future__ import annotations

import os
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from aal_plugin.process import searched_in

# The first bytes of a file by torch before 1.6: its pickled magic number. It has no checksum.
_OLDER_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_OTHERS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; run git lfs pull",
    b"<!DOCTYPE": "is a web page, not a checkpoint; was it downloaded from the right address?",
    b"<html": "is a web page, not a checkpoint; was it downloaded from the right address?",
    b"\x89HDF": "is an HDF5 file, not a checkpoint of torch",
    b"\x80": "is a pickle, not a checkpoint of torch.save; pickles are not loaded",
}


def check_checkpoint(path: str | None) -> None:
    """Raise unless `path` is None, a URL or a complete local checkpoint.

    Raises:
        FileNotFoundError: the file does not exist.
        PermissionError: the file may not be read.
        ValueError: the file is no checkpoint, is cut short or is damaged; the message says which.
    """
    if path is None or "://" in path:
        return
    file = Path(path).expanduser()
    if not file.exists():
        raise FileNotFoundError(f"checkpoint {path!r}: no such file{searched_in(path)}")
    if not file.is_file():
        if any(file.glob("rank*.pth")):
            raise ValueError(
                f"checkpoint {path!r} is a folder of FSDP shards, which cannot be loaded safely; "
                "train with strategy.state_dict_cfg='full'"
            )
        raise ValueError(f"checkpoint {path!r} is a folder; give a file in it")
    state = file.stat()
    try:
        fault = _fault(str(file), state.st_size, state.st_mtime_ns)
    except PermissionError as error:
        raise PermissionError(
            f"checkpoint {path!r}: no permission to read it (mode {state.st_mode & 0o777:o})"
        ) from error
    if fault is not None:
        raise ValueError(f"checkpoint {path!r} {fault}")


def is_safetensors(path: str) -> bool:
    """Whether a file starts like safetensors: the length of a JSON header, then the header."""
    with open(path, "rb") as file:
        start = file.read(9)
    size = int.from_bytes(start[:8], "little")
    return len(start) == 9 and start[8:] == b"{" and size <= os.path.getsize(path) - 8


@lru_cache(maxsize=64)  # by size and time: the checksum of a large file takes seconds
def _fault(path: str, size: int, changed: int) -> str | None:
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return "is empty"
    if start.startswith(b"PK"):
        return _fault_of_zip(path)
    if start.startswith(_OLDER_FORMAT) or is_safetensors(path):
        return None
    if not any(start):
        return "contains only zeros; the disk lost its content"
    return next(
        (words for begin, words in _OTHERS.items() if start.startswith(begin)),
        "is neither a checkpoint of torch nor safetensors",
    )


def _fault_of_zip(path: str) -> str | None:
    """Python's reader compares checksums, torch's does not; each trusts fields that none covers."""
    name = ""
    try:
        if not zipfile.is_zipfile(path):
            return "is cut short: its end is missing"
        reader: Any = torch._C.PyTorchFileReader(path)
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                content = archive.read(name)
                if content != reader.get_record(name.partition("/")[2]):
                    return f"is damaged: torch reads {name} in another place"
    except PermissionError:
        raise
    except Exception as error:  # a flipped bit asks for a password, a decompressor, other disks
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        if words.startswith("Bad CRC-32"):
            return f"is damaged: {name} does not match its checksum"
        return f"is damaged ({words})"
    return None
