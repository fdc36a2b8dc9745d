#!/usr/bin/env python
"""Write one page about training runs: curves, links, attention, time, and warnings.

    tools/report.py [NAME=]WORK_DIR... OUT.html [--images 3] [--title TEXT]

Work dirs are those of MMPretrain or the output folders of timm's train.py. Runs that differ by
their seed alone become one group, drawn as a mean in a band. OUT.html needs no server and no
network.
"""

import argparse
from pathlib import Path

from aal_plugin.process import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="[NAME=]WORK_DIR")
    parser.add_argument("out", help="the page to write, such as report.html")
    parser.add_argument(
        "--images",
        type=int,
        default=3,
        help="validation images with attention sheets, for each group; 0 builds no model",
    )
    parser.add_argument("--title", default="AAL report", help="heading of the page")
    args = parser.parse_args()
    if Path(args.out).suffix not in (".html", ".htm"):
        raise ValueError(f"{args.out!r} is not the name of a page; end with OUT.html")
    # After the arguments: these imports take seconds.
    from aal_plugin.report import write_report
    from aal_plugin.report.runs import how_many

    groups = write_report(args.runs, args.out, args.images, args.title)
    size = Path(args.out).stat().st_size / 1e6
    print(f"wrote {args.out}: {how_many(groups)}, {size:.1f} MB")


if __name__ == "__main__":
    with plain_errors():
        main()
