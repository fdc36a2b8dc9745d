"""How a process ends that is one of several ranks, or the child of a tool."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
import torch.distributed as dist

PARENT = "AAL_PARENT"  # names the process whose end ends this one; torchrun's ranks know theirs
_GRACE = 30.0  # seconds in which a child may save itself; torchrun's own


def end_with_parent() -> None:
    """End this process when the one is gone that started it: torchrun, or a tool of ours.

    A parent that is killed cannot take its children along; they would train, and write, on. This
    one gets SIGTERM, as if from the parent, and half a minute to leave in order.
    """
    ranks = "TORCHELASTIC_RUN_ID" in os.environ
    parent = os.getppid() if ranks else int(os.environ.get(PARENT, 0))
    if parent:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    with suppress(OSError):  # a pipe to the parent, which nobody reads any more
        print(f"process {parent}, which started this one, is gone; this one ends", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(128 + signal.SIGTERM)


@contextmanager
def leaving_in_order() -> Iterator[None]:
    """Run a launcher's main, then end the process group that it started, if it started one.

    Without an error the ranks wait for each other, and each destroys its group: gloo's threads
    would otherwise still run while the interpreter is taken down, and abort the process
    ("terminate called without an active exception"). After an error the others may never come to
    a common point. This rank then shows the error, runs what was registered with `atexit`, and
    ends at once with the error's status; its closed sockets end the other ranks.

    Wrap the whole of a script: nothing that is left outside runs after an error.
    """
    try:
        yield
        _wait_for_all()
    except BaseException as error:
        if not (dist.is_available() and dist.is_initialized()):
            raise
        _end_now(error)
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # a runner's cycles hold DDP, and DDP holds the group
        dist.destroy_process_group()


def _wait_for_all() -> None:
    if dist.is_available() and dist.is_initialized():
        nccl = dist.get_backend() == "nccl"
        dist.barrier(device_ids=[torch.cuda.current_device()] if nccl else None)


def _end_now(error: BaseException) -> None:
    """End this process as the interpreter would, but without a wait for threads of the group."""
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
