#!/usr/bin/env python
"""torch.distributed.run, after a check of the config; its errors are those of the script, once.

tools/torchrun.sh starts it. Its options are torchrun's. The exit status is 2 if the script reports
a mistake, and 75 after a signal that stops its ranks.
"""

from aal_plugin.process import LAUNCHED, PARENT, STATUS, STOP, STOPPED, end_now, end_with_parent

if __name__ == "__main__":
    STOP.listen()

import os
import runpy
import signal
import sys
from typing import Any, NoReturn

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run


def check(script: str, words: list[str]) -> int:
    """The exit status of `script --check`, in a fork of this process, which has torch already."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        os.environ[PARENT] = str(os.getppid())
        end_with_parent()
        sys.argv = [script, *words, "--check"]
        runpy.run_path(script, run_name="__main__")
    except BaseException as error:
        end_now(error)
    end_now(SystemExit(0))


def end(error: ChildFailedError | SignalException) -> NoReturn:
    """Print what ended the ranks, and exit."""
    if isinstance(error, SignalException):
        print(error, file=sys.stderr)
        sys.exit(STOPPED if error.sigval == signal.SIGTERM else 1)
    # A rank's message is a dict if it reported an error in words. Others may then fail within the
    # same second, for it left them alone.
    words = [failure for failure in error.failures.values() if isinstance(failure.message, dict)]
    failure = min(words, key=lambda one: one.timestamp, default=error.get_first_failure()[1])
    told: Any = failure.message
    print(told["message"] if isinstance(told, dict) else error, file=sys.stderr)
    sys.exit(failure.exitcode if failure.exitcode in (STATUS, STOPPED) else 1)


if __name__ == "__main__":
    args = get_args_parser().parse_args()
    status = check(args.training_script, args.training_script_args)
    if status or {"-h", "--help"} & set(args.training_script_args):
        sys.exit(status)
    os.environ[LAUNCHED] = "1"
    try:
        run(args)
    except (ChildFailedError, SignalException) as error:
        end(error)
