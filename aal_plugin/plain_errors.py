"""How a tool ends at an error: with its words alone where those are what a user needs."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRACEBACK = "AAL_TRACEBACK"  # set to 1, it shows where an error came from
STATUS = 2  # as argparse leaves at a mistake

# In here an error is not of what was given, but of the code: where it came from is needed.
_STEPS = ("train_step", "val_step", "test_step", "train_one_epoch")
# Their words are written for a reader; others need their kind beside them.
_TELLING = (ValueError, OSError, FloatingPointError, ImportError)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Wrap a tool's main: an error is told in a line, with status 2, unless a step raised it."""
    try:
        yield
    except Exception as error:
        if os.environ.get(TRACEBACK, "0") not in ("", "0") or _in_a_step(error):
            raise
        rank = f" (rank {os.environ['RANK']})" if "RANK" in os.environ else ""
        print(f"{Path(sys.argv[0]).name}: error{rank}: {in_words(error)}", file=sys.stderr)
        sys.exit(STATUS)


def in_words(error: BaseException) -> str:
    """What an error says, without the traceback that a worker and a registry put around it."""
    words = str(error).strip()
    if "Original Traceback" in words:  # of a DataLoader's worker
        words = re.sub(r"^[\w.]*(Error|Exception): ", "", words.splitlines()[-1])
    words = re.sub(r"^(class `\w+` in \S+: )+", "", words)  # MMEngine's registry, once a level
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    if type(error) in _TELLING or (isinstance(error, _TELLING) and words):
        return words
    return f"{type(error).__name__}: {words} ({TRACEBACK}=1 shows where)"


def _in_a_step(error: BaseException) -> bool:
    return any(frame.name in _STEPS for frame in traceback.extract_tb(error.__traceback__))
