#!/usr/bin/env python
"""Turn an AAL checkpoint into one of a plain ImageClassifier.

    tools/export_student.py CONFIG CHECKPOINT OUT [--ema]

OUT holds the student alone; the plain config is written beside it, as OUT with the ending .py.
Before that the weights are loaded strictly into an ImageClassifier, and its logits on a batch of
noise are compared with those of the AAL model.
"""

import argparse

from aal_plugin.mm.checkpoints.export import export_student
from aal_plugin.plain_errors import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="a checkpoint of that training")
    parser.add_argument("out", help="the file to write, such as deit-s.pth")
    parser.add_argument(
        "--ema", action="store_true", help="take the averaged weights of EMAHook, not the raw ones"
    )
    args = parser.parse_args()
    config_out = export_student(args.config, args.checkpoint, args.out, ema=args.ema)
    print(f"wrote {args.out} and {config_out}")


if __name__ == "__main__":
    with plain_errors():
        main()
