#!/usr/bin/env python
"""Draw the trained links of checkpoints (MMEngine's or timm's) side by side.

    tools/analysis/plot_links.py CHECKPOINT... OUT [--names NAME...] [--heads] [--keep SHARE]

A value of 1 means that the links of a block are as large as before training, 2 twice as large: new
links are larger where fewer blocks are linked, which is no result of training. --absolute draws
their mean magnitude itself, as in the paper's Fig. 2.

OUT is a PNG (or PDF, SVG); a CSV with both numbers is written beside it. No model is built.
"""

from __future__ import annotations

import argparse
import csv
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from aal_plugin.files import save_figure, written_whole
from aal_plugin.process import plain_errors

if TYPE_CHECKING:
    import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("out", help="the figure to write, such as links.png")
    parser.add_argument("--names", nargs="+", help="titles, by default the checkpoints' paths")
    parser.add_argument("--heads", action="store_true", help="draw a column for every head")
    parser.add_argument(
        "--absolute", action="store_true", help="draw magnitudes, not their growth since the start"
    )
    parser.add_argument(
        "--keep",
        type=float,
        help="frame the blocks that hold this share of each level's links",
    )
    parser.add_argument(
        "--shared-scale", action="store_true", help="one colour scale for all checkpoints"
    )
    parser.add_argument(
        "--ema", action="store_true", help="use the averaged links, not the raw ones"
    )
    args = parser.parse_args()
    names = args.names or [f"{Path(c).parent.name}/{Path(c).stem}" for c in args.checkpoints]
    if len(set(names)) != len(args.checkpoints):
        parser.error(f"--names: {len(args.checkpoints)} checkpoints need as many different names")
    # After the arguments: these imports take seconds.
    from aal_plugin.analysis import (
        link_growth,
        link_share,
        link_strength,
        plot_link_strengths,
        select_ranges,
    )
    from aal_plugin.analysis.links import GROWTH, LABEL
    from aal_plugin.analysis.saved_links import read_links

    saved = {name: read_links(path, args.ema) for name, path in zip(names, args.checkpoints)}
    heads = next(iter(saved.values())).heads
    if args.heads and any(links.heads != heads for links in saved.values()):
        parser.error("--heads: the students of these checkpoints have different heads")
    strengths = {name: link_strength(*links, by_head=args.heads) for name, links in saved.items()}
    growths = {name: link_growth(*links, by_head=args.heads) for name, links in saved.items()}
    outlines = None
    if args.keep is not None:
        outlines = {
            name: select_ranges(link_share(*links), args.keep) for name, links in saved.items()
        }

    figure = plot_link_strengths(
        strengths if args.absolute else growths,
        heads if args.heads else None,
        outlines,
        args.shared_scale,
        LABEL if args.absolute else GROWTH,
    )
    out = Path(args.out)
    save_figure(figure, out, dpi=150)
    write_csv(out.with_suffix(".csv"), strengths, growths, heads if args.heads else None)
    print(f"wrote {out} and {out.with_suffix('.csv')}")


def write_csv(
    path: Path,
    strengths: dict[str, np.ndarray],
    growths: dict[str, np.ndarray],
    heads: list[int] | None,
) -> None:
    """A row per run, level and block, or head of a block; values are empty without a link."""
    with written_whole(path) as part, open(part, "w", newline="") as file:
        rows = csv.writer(file)
        places = ["block", "head"] if heads else ["block"]
        rows.writerow(["run", "level", *places, "mean_abs_weight", "times_its_start"])
        for run, strength in strengths.items():
            levels, columns = strength.shape
            each = heads or [1] * columns
            columns = [(b, h) for b, count in enumerate(each, 1) for h in range(1, count + 1)]
            for level in range(levels):
                for place, *values in zip(columns, strength[level], growths[run][level]):
                    shown = ["" if isnan(value) else f"{value:.6g}" for value in values]
                    rows.writerow([run, level + 1, *place[: len(places)], *shown])


if __name__ == "__main__":
    with plain_errors():
        main()
