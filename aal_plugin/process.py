"""How a process ends: an error in plain words, one of several ranks, the child of a tool."""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRACEBACK = "AAL_TRACEBACK"  # environment variable; 1 shows the traceback
STATUS = 2  # argparse's exit status

# An error inside these functions is probably a bug, not a user's mistake: show the traceback.
_STEPS = ("train_step", "val_step", "test_step", "train_one_epoch")
# The messages of these errors are written for users; other errors also need their class name.
_FOR_USERS = (ValueError, OSError, FloatingPointError, ImportError)

PARENT = "AAL_PARENT"  # environment variable: this process ends when the process of this id ends
_GRACE = 30.0  # seconds for a child to save a checkpoint; the same as torchrun's


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


def end_with_parent() -> None:
    """End this process when its parent ends: torchrun, or a tool of this package.

    A parent that is killed cannot stop its children, which would continue to train and write. This
    function watches the parent, sends SIGTERM to this process when the parent is gone, and ends it
    after half a minute.
    """
    ranks = "TORCHELASTIC_RUN_ID" in os.environ
    parent = os.getppid() if ranks else int(os.environ.get(PARENT, 0))
    if parent:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    with suppress(OSError):  # stderr may be a closed pipe to the parent
        print(f"the parent process {parent} has ended, so this process ends too", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(128 + signal.SIGTERM)


@contextmanager
def leaving_in_order() -> Iterator[None]:
    """Run a launcher's main, then destroy the process group that it started.

    Without an error, the ranks wait for each other and destroy their process group. Otherwise
    gloo's threads would still run while the interpreter exits, and would abort the process
    ("terminate called without an active exception"). After an error, the other ranks may never
    reach the barrier. So this rank prints the error, runs the `atexit` functions and exits
    immediately with the error's status; its closed sockets end the other ranks.

    Wrap a whole script: after an error, no code outside the block runs.
    """
    try:
        yield
        _wait_for_all()
    except BaseException as error:
        if not _in_a_group():
            raise
        _end_now(error)
    if _in_a_group():
        import torch.distributed as dist

        gc.collect()  # reference cycles of a runner hold DDP, and DDP holds the group
        dist.destroy_process_group()


def _in_a_group() -> bool:
    if "torch" not in sys.modules:  # the command line imports this file and ends without torch
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _wait_for_all() -> None:
    if _in_a_group():
        import torch
        import torch.distributed as dist

        nccl = dist.get_backend() == "nccl"
        dist.barrier(device_ids=[torch.cuda.current_device()] if nccl else None)


def _end_now(error: BaseException) -> None:
    """Exit as the interpreter would, but without waiting for the threads of the group."""
    status = 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if status and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
    else:
        status = 130 if isinstance(error, KeyboardInterrupt) else 1
        sys.excepthook(type(error), error, error.__traceback__)
    try:
        atexit._run_exitfuncs()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
