"""Ends processes cleanly: one of several ranks, or the child of a tool."""

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

PARENT = "AAL_PARENT"  # environment variable: this process ends when the process of this id ends
_GRACE = 30.0  # seconds for a child to save a checkpoint; the same as torchrun's


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
        if not (dist.is_available() and dist.is_initialized()):
            raise
        _end_now(error)
    if dist.is_available() and dist.is_initialized():
        gc.collect()  # reference cycles of a runner hold DDP, and DDP holds the group
        dist.destroy_process_group()


def _wait_for_all() -> None:
    if dist.is_available() and dist.is_initialized():
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
