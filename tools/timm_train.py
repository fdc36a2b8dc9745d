#!/usr/bin/env python
"""Train with AAL in timm's own, unmodified train.py (of timm 1.0.27 or later).

    tools/timm_train.py TRAIN_PY [train.py's options] --aal-teacher NAME [AAL's options]
    torchrun --nproc-per-node 2 tools/timm_train.py TRAIN_PY …

TRAIN_PY --help shows both sets of options.
"""

import sys
from pathlib import Path


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        sys.exit(0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2)
    del sys.argv[0]
    # As with `python TRAIN_PY`: the timm of a checkout comes before an installed one.
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))

    from aal_plugin.process import leaving_in_order, plain_errors
    from aal_plugin.timm.launch import load_script, put_task_in

    with leaving_in_order(), plain_errors():
        script = load_script(sys.argv[0])
        put_task_in(script)
        script.main()


if __name__ == "__main__":
    main()
