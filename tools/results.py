#!/usr/bin/env python
"""Write the tables and figures of all studies into the README and the pages of docs/.

    tools/results.py            write them; figures go to docs/images
    tools/results.py --check    exit with status 1 if a page is not what the stored runs say

A page marks the place of a study by two comments, and everything between them is written anew:

    <!-- study: fair -->
    <!-- end of study -->

Run it from the top folder. tools/compare.py runs the studies in docs/results/studies.
"""

import argparse
import sys
from pathlib import Path

from aal_plugin.plain_errors import plain_errors
from aal_plugin.studies.pages import fill_in, write_page

STUDIES = Path("docs/results/studies")
IMAGES = Path("docs/images")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; tell what differs")
    args = parser.parse_args()
    pages = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]
    if not STUDIES.is_dir():
        raise FileNotFoundError(f"{STUDIES} does not exist in {Path.cwd()}; run it from the top")
    if args.check:
        old = [
            page for page in pages if fill_in(page, STUDIES, IMAGES, draw=False) != page.read_text()
        ]
        if old:
            sys.exit(
                f"not what the stored runs say: {', '.join(map(str, old))}; run tools/results.py"
            )
        return
    for page in pages:
        if write_page(page, STUDIES, IMAGES):
            print(f"written: {page}")


if __name__ == "__main__":
    with plain_errors():
        main()
