#!/usr/bin/env python
"""Write the tables and figures of studies into Markdown pages.

    tools/results.py                            README.md and docs/*.md of this repository
    tools/results.py REPORT.md --studies runs   a page and studies of your own
    tools/results.py --check                    exit with status 1 if a page is out of date

A page marks the place of a study by two comments, and everything between them is written anew from
the stored runs of tools/compare.py:

    <!-- study: fair -->
    <!-- end of study -->
"""

import argparse
import sys
from pathlib import Path

from aal_plugin.process import plain_errors

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tools.studies: the checkout alone


def main() -> None:
    args = parse_args()
    from tools.studies.pages import fill_in, write_page  # after the arguments: it takes seconds

    pages = args.pages or [Path("README.md"), *sorted(Path("docs").glob("*.md"))]
    for path in (args.studies, *pages):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist in {Path.cwd()}")
    if not args.check:
        for page in pages:
            if write_page(page, args.studies, args.images):
                print(f"written: {page}")
        return
    old = [
        str(page)
        for page in pages
        if fill_in(page, args.studies, args.images, draw=False) != page.read_text(encoding="utf-8")
    ]
    if old:
        sys.exit(f"out of date: {', '.join(old)}; run tools/results.py")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="Markdown files")
    parser.add_argument(
        "--studies",
        type=Path,
        default=Path("docs/results/studies"),
        help="folder of the studies and their stored runs (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        default=Path("docs/images"),
        help="folder of the figures (default: %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; name what is old")
    return parser.parse_args()


if __name__ == "__main__":
    with plain_errors():
        main()
