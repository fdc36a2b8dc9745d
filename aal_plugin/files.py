"""Files that appear complete or not at all, and where configs/ and tools/ are."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# A hidden file with the same ending, because savefig reads the format from the ending.
PREFIX = ".part-"

PACKAGE = Path(__file__).resolve().parent


@contextmanager
def written_whole(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path next to `path`; replace `path` by it once it is on the disk.

    If writing is interrupted, `path` still has its old content. The new file has the mode of the
    one that it replaces.

    Args:
        size: number of bytes to write, for the error message.

    Raises:
        OSError: the system's own error. If the disk is full, it names the file, the needed bytes
            and the free bytes.
    """
    path = Path(path)
    part = path.with_name(PREFIX + path.name)
    try:
        part.unlink(missing_ok=True)  # what a killed process or anyone left there
        # O_EXCL follows no symbolic link.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield part
        with suppress(FileNotFoundError, PermissionError):  # vfat and some mounts have no modes
            os.chmod(part, path.stat().st_mode & 0o7777)
        _flush(part)
        os.replace(part, path)
        _flush(path.parent)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        size = size or (part.stat().st_size if part.exists() else 0)
        free = shutil.disk_usage(path.parent).free
        quota = "; a quota may apply" if error.errno == errno.EDQUOT or free > size else ""
        kept = "; the old file of this name is unchanged" if path.exists() else ""
        raise OSError(
            error.errno,
            f"{os.strerror(error.errno)} for {path}: {size} bytes needed, {free} free{quota}{kept}",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a text or bytes file; see `written_whole`."""
    content = content.encode() if isinstance(content, str) else content
    with written_whole(path, len(content)) as part:
        part.write_bytes(content)


def save_figure(figure: Any, path: str | Path, **options: Any) -> None:
    """Call Matplotlib's `figure.savefig(path, **options)`; create the folder if needed."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        figure.savefig(part, **options)


def remove_parts(folder: str | Path) -> None:
    """Remove the temporary files that killed processes left in a folder."""
    for part in Path(folder).glob(f"{PREFIX}*"):
        part.unlink(missing_ok=True)


def check_not_input(out: str | Path, *inputs: str | Path) -> None:
    """Raise ValueError if `out` is one of the files that it is made from."""
    for path in inputs:
        if os.path.exists(out) and os.path.exists(path) and os.path.samefile(out, path):
            raise ValueError(
                f"{out} is an input of this command and would be overwritten; choose another name"
            )


def _flush(path: Path) -> None:
    """Wait until a file, or the list of files in a folder, is on the disk."""
    if os.name == "nt":  # Windows opens no folders, and flushes only files that it may write
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Network mounts and FUSE answer so where they cannot flush; closing is all there is then.
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)


def configs_folder() -> Path:
    """The folder of the configs."""
    return _folder("configs")


def tools_folder() -> Path:
    """The folder of the tools."""
    return _folder("tools")


def _folder(name: str) -> Path:
    for place in (PACKAGE / name, PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"aal_plugin's folder {name}/ is missing; searched {PACKAGE} and {PACKAGE.parent}. "
        "Install the package again"
    )
