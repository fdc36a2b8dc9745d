#!/usr/bin/env python
"""Draw the trained links of checkpoints side by side, as in the paper's Fig. 2.

    tools/analysis/plot_links.py CHECKPOINT... OUT [--names NAME...] [--heads] [--keep SHARE]

OUT is a PNG (or PDF, SVG); the numbers are written beside it as CSV. No model is built.
"""

import argparse
from pathlib import Path

from aal_plugin.analysis import (
    head_strength,
    link_share,
    link_strength,
    plot_link_strengths,
    select_ranges,
)
from aal_plugin.analysis.links import write_link_csv
from aal_plugin.mm.checkpoints.reading import read_links
from aal_plugin.plain_errors import plain_errors
from aal_plugin.whole_files import save_figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("out", help="the figure to write, such as links.png")
    parser.add_argument("--names", nargs="+", help="titles, by default the checkpoints' paths")
    parser.add_argument("--heads", action="store_true", help="a column for every head")
    parser.add_argument(
        "--keep", type=float, help="frame the blocks that hold this share of each level's links"
    )
    parser.add_argument(
        "--shared-scale", action="store_true", help="one colour scale for all checkpoints"
    )
    parser.add_argument(
        "--ema", action="store_true", help="the averaged links of EMAHook, not the raw ones"
    )
    args = parser.parse_args()
    names = args.names or [f"{Path(c).parent.name}/{Path(c).stem}" for c in args.checkpoints]
    if len(set(names)) != len(args.checkpoints):
        parser.error(f"--names: {len(args.checkpoints)} checkpoints need as many different names")

    saved = {name: read_links(path, args.ema) for name, path in zip(names, args.checkpoints)}
    heads = next(iter(saved.values())).heads
    if args.heads and any(links.heads != heads for links in saved.values()):
        parser.error("--heads: the students of these checkpoints have different heads")
    measure = head_strength if args.heads else link_strength
    strengths = {name: measure(*links) for name, links in saved.items()}
    outlines = None
    if args.keep is not None:
        outlines = {
            name: select_ranges(link_share(*links), args.keep) for name, links in saved.items()
        }

    figure = plot_link_strengths(
        strengths, heads if args.heads else None, outlines, args.shared_scale
    )
    out = Path(args.out)
    save_figure(figure, out, dpi=150)
    blocks = range(1, max(len(links.heads) for links in saved.values()) + 1)
    columns = [(b,) for b in blocks]
    if args.heads:
        columns = [(b, h) for b in blocks for h in range(1, heads[b - 1] + 1)]
    write_link_csv(out.with_suffix(".csv"), strengths, columns)
    print(f"wrote {out} and {out.with_suffix('.csv')}")


if __name__ == "__main__":
    with plain_errors():
        main()
