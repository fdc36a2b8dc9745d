"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Hidden, and with the ending of the whole file, which tells savefig its format.
PREFIX = ".part-"


@contextmanager
def written_whole(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """A path beside `path` to write to. It takes the place of `path` once it is on the disk.

    Whatever ends the writing, `path` is either what it was before or the whole new file.

    Args:
        size: how many bytes will be written, for the error's message.

    Raises:
        OSError: as the system gives it; without space it names the file, the bytes wanted and
            those that are free.
    """
    path = Path(path)
    part = path.with_name(PREFIX + path.name)
    try:
        yield part
        _flush(part)
        os.replace(part, path)
        _flush(path.parent)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        size = size or (part.stat().st_size if part.exists() else 0)
        free = shutil.disk_usage(path.parent).free
        quota = "; a quota may hold" if error.errno == errno.EDQUOT or free > size else ""
        kept = "; the file of that name is kept as it was" if path.exists() else ""
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno)} for {path}: {size} bytes wanted, {free} free{quota}{kept}",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a text or bytes file; see `written_whole`."""
    content = content.encode() if isinstance(content, str) else content
    with written_whole(path, len(content)) as part:
        part.write_bytes(content)


def save_figure(figure: Any, path: str | Path, **options: Any) -> None:
    """`figure.savefig(path, **options)` of Matplotlib, in a folder that is made where it lacks."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        figure.savefig(part, **options)


def remove_parts(folder: str | Path) -> None:
    """Remove what writers that were killed have left in a folder."""
    for part in Path(folder).glob(f"{PREFIX}*"):
        part.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file or a folder's list of names is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
