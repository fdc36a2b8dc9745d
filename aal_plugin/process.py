"""How a process ends: an error in words, a signal, one of several ranks, the child of a tool."""

from __future__ import annotations

import atexit
import gc
import json
import os
import re
import signal
import sys
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

TRACEBACK = "AAL_TRACEBACK"  # environment variable; 1 shows the traceback
STATUS = 2  # argparse's exit status
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: run it again
STOP_SIGNALS = [signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]

# An error inside these functions is probably a bug, not a user's mistake: show the traceback.
_STEPS = ("train_step", "val_step", "test_step", "train_one_epoch")
_NOISE = "Fail to import|pkg_resources is|Setting (OMP|MKL)_NUM_THREADS|`broadcast_buffers` is"
# The messages of these errors are written for users; other errors also need their class name.
_FOR_USERS = (ValueError, OSError, FloatingPointError, ImportError)
_PACKAGE = Path(__file__).resolve().parent

LAUNCHED = "AAL_LAUNCHED"  # environment variable: tools/torchrun.py prints this rank's error
PARENT = "AAL_PARENT"  # environment variable: this process ends when the process of this id ends
_GRACE = 30.0  # seconds for a child to save a checkpoint; the same as torchrun's


@contextmanager
def plain_errors() -> Iterator[None]:
    """Wrap a tool's main: print an error as one line and exit with status 2.

    The traceback is kept if a training step raised the error, or if it passed through the code of
    a lab, such as a hook or a transform of its own: files of neither this package nor installed
    ones. An error of an installed package is a line that says how to see the traceback.
    """
    try:
        yield
    except Exception as error:
        first, *causes = _passed(error)
        passed = [*first[2:], *(file for files in causes for file in files)]  # below the caller
        in_a_step = any(f.name in _STEPS for f in traceback.extract_tb(error.__traceback__))
        if os.environ.get(TRACEBACK) == "1" or in_a_step or any(map(_is_a_labs, passed)):
            raise
        rank = f" (rank {os.environ['RANK']})" if "RANK" in os.environ else ""
        _tell(f"{Path(sys.argv[0]).name}: error{rank}: {in_words(error)}")
        sys.exit(STATUS)


def _tell(line: str) -> None:
    """Print an error; a rank of tools/torchrun.py leaves that to it, which prints the first one."""
    if LAUNCHED not in os.environ:
        print(line, file=sys.stderr)
        return
    error = dict(message=line, extraInfo=dict(py_callstack=line, timestamp=str(int(time.time()))))
    Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(dict(message=error)))


def hide_known_warnings() -> None:
    """Hide the warnings that OpenMMLab's packages raise at every start, in every rank."""
    warnings.filterwarnings("ignore", message=_NOISE)


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
    if type(error) not in _FOR_USERS and not (isinstance(error, _FOR_USERS) and words):
        words = f"{type(error).__name__}: {words}"
    elif not all(files and _is_installed(files[-1]) for files in _passed(error)):
        return words
    return f"{words} (set {TRACEBACK}=1 to see the traceback)"


def searched_in(path: str | Path) -> str:
    """' in FOLDER' for the error about a missing file: where a relative path was searched."""
    return "" if Path(path).expanduser().is_absolute() else f" in {Path.cwd()}"


def _passed(error: BaseException | None) -> Iterator[list[str]]:
    """The source files that an error passed through, then those of each error that caused it."""
    while error is not None:
        # A DataLoader worker sends its own traceback as text.
        told = str(error) if "Original Traceback" in str(error) else ""
        yield [
            *(frame.filename for frame in traceback.extract_tb(error.__traceback__)),
            *re.findall(r'^ *File "(.+?)", line', told, re.MULTILINE),
        ]
        hidden = error.__cause__ is None and error.__suppress_context__
        error = None if hidden else error.__cause__ or error.__context__


def _is_installed(file: str) -> bool:
    path = Path(file)
    python = any(path.is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    return python or bool({"site-packages", "dist-packages"} & set(path.parts))


def _is_a_labs(file: str) -> bool:
    path = Path(file).resolve()
    ours = any(path.is_relative_to(folder) for folder in (_PACKAGE, _PACKAGE.parent / "tools"))
    return path.is_file() and not ours and not _is_installed(file)


class Stop:
    """What a process does on SIGTERM and SIGUSR1: it ends with status 75.

    A run that trains saves a checkpoint first: `StopSignalHook` sets `saves` and looks at `asked`
    after each step. Otherwise the process ends immediately, because it has nothing to save. A
    second signal, at least ten seconds later, always ends it immediately.
    """

    def __init__(self) -> None:
        self.saves = False
        self._since: float | None = None

    @property
    def asked(self) -> bool:
        """Whether a signal was received."""
        return self._since is not None

    def listen(self) -> None:
        """Receive the signals from now on.

        Raises:
            ValueError: this is not the main thread, which alone can receive signals.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        if not self.saves:
            # Not SystemExit: Python ignores it where it is raised within a __del__.
            os._exit(STOPPED)
        if self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > 10:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


STOP = Stop()


def end_with_parent() -> None:
    """End this process when its parent ends: torchrun, or a tool of this package.

    A killed parent cannot stop its children, which would go on training and writing. When it is
    gone, this process gets SIGTERM, and ends half a minute later.
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

    The ranks wait for each other and destroy their group: gloo's threads would still run while the
    interpreter exits, and abort it ("terminate called without an active exception"). After an
    error, the other ranks may never reach the barrier. So this rank prints the error, runs the
    `atexit` functions and exits immediately; its closed sockets end the other ranks. No code
    outside the block runs then.
    """
    try:
        yield
        dist = _group()
        if dist is not None:
            nccl = dist.get_backend() == "nccl"
            dist.barrier(device_ids=[sys.modules["torch"].cuda.current_device()] if nccl else None)
    except BaseException as error:
        if _group() is None:
            raise
        end_now(error)
    if dist is not None:
        gc.collect()  # reference cycles of a runner hold DDP, and DDP holds the group
        dist.destroy_process_group()


def _group() -> Any:
    """torch.distributed, if this process is one of several ranks."""
    if "torch" not in sys.modules:  # the command line imports this file and ends without torch
        return None
    import torch.distributed as dist

    return dist if dist.is_available() and dist.is_initialized() else None


def end_now(error: BaseException) -> NoReturn:
    """Exit as the interpreter would, but without waiting for the threads of a group."""
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
