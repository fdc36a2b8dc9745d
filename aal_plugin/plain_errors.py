"""Shows a user's mistake as one line instead of a traceback."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRACEBACK = "AAL_TRACEBACK"  # environment variable; 1 shows the traceback
STATUS = 2  # argparse's exit status

# An error inside these functions is probably a bug, not a user's mistake: show the traceback.
_STEPS = ("train_step", "val_step", "test_step", "train_one_epoch")
# The messages of these errors are written for users; other errors also need their class name.
_FOR_USERS = (ValueError, OSError, FloatingPointError, ImportError)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Wrap a tool's main: print an error as one line and exit with status 2.

    An error that a training step raises keeps its traceback.
    """
    try:
        yield
    except Exception as error:
        if os.environ.get(TRACEBACK, "0") not in ("", "0") or _in_a_step(error):
            raise
        rank = f" (rank {os.environ['RANK']})" if "RANK" in os.environ else ""
        print(f"{Path(sys.argv[0]).name}: error{rank}: {in_words(error)}", file=sys.stderr)
        sys.exit(STATUS)


def in_words(error: BaseException) -> str:
    """The message of an error, without the text that DataLoader workers and registries add."""
    words = str(error).strip()
    if "Original Traceback" in words:  # from a DataLoader worker
        words = re.sub(r"^[\w.]*(Error|Exception): ", "", words.splitlines()[-1])
    words = re.sub(r"^(class `\w+` in \S+: )+", "", words)  # one prefix per nested registry
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    if type(error) in _FOR_USERS or (isinstance(error, _FOR_USERS) and words):
        return words
    return f"{type(error).__name__}: {words} (set {TRACEBACK}=1 to see the traceback)"


def searched_in(path: str | Path) -> str:
    """' in FOLDER' for the error about a missing file: where a relative path was searched.

    Example:
        >>> searched_in("/data/a.pth")
        ''
    """
    return "" if Path(path).expanduser().is_absolute() else f" in {Path.cwd()}"


def _in_a_step(error: BaseException) -> bool:
    return any(frame.name in _STEPS for frame in traceback.extract_tb(error.__traceback__))
