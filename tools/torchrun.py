#!/usr/bin/env python
"""torch.distributed.run, whose exit status is 75 after a signal that stops its ranks.

tools/torchrun.sh starts it. Its options are torchrun's.
"""

from aal_plugin.process import STOP, STOPPED

if __name__ == "__main__":
    STOP.listen()

import signal
import sys
import traceback

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main


def status_of(error: Exception) -> int:
    """The exit status after an error of torchrun."""
    if isinstance(error, ChildFailedError):
        return STOPPED if error.get_first_failure()[1].exitcode == STOPPED else 1
    return STOPPED if getattr(error, "sigval", None) == signal.SIGTERM else 1


if __name__ == "__main__":
    try:
        main()
    except (ChildFailedError, SignalException) as error:
        traceback.print_exc()
        sys.exit(status_of(error))
