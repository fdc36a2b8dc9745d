#!/usr/bin/env python
"""Choose selective links from the trained full links of a checkpoint.

    tools/analysis/select_links.py CHECKPOINT --keep 0.8 [--base CONFIG] [--out FILE.py]

For every teacher level, the smallest run of neighbouring student blocks that holds the share
--keep of the summed link magnitudes. 'even' is the share that these blocks would hold if all links
were equal, as they are before training. 'grew' is how many times as large as at the start the
selected links are, 'rest' the same for the other blocks: where the two are equal, training has
preferred no block. alpha and beta are the paper's Table 1. FILE.py is a config; with --base it can
be trained as it is.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aal_plugin.files import write_whole
from aal_plugin.process import plain_errors

if TYPE_CHECKING:
    import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="trained with AAL, best with link_head.links='full'")
    parser.add_argument("--keep", type=float, default=0.8, help="share of links, in (0, 1]")
    parser.add_argument("--base", help="the config that FILE.py builds on")
    parser.add_argument("--out", metavar="FILE.py", help="write a config with these links")
    parser.add_argument(
        "--ema", action="store_true", help="use the averaged links, not the raw ones"
    )
    args = parser.parse_args()
    # After the arguments: these imports take seconds.
    from aal_plugin.analysis import link_growth, link_share, select_ranges
    from aal_plugin.analysis.saved_links import read_links
    from aal_plugin.core import link_ranges

    links = read_links(args.checkpoint, args.ema)
    share = link_share(*links)
    levels, blocks = share.shape
    if links.ranges != [(1, blocks)] * levels:
        print(
            f"note: the checkpoint's links were selective already: {links.ranges}; other blocks "
            "had no links to select from"
        )

    selected = select_ranges(share, args.keep)
    columns = {"selected": selected}
    columns.update((name, link_ranges(name, levels, blocks)) for name in ("alpha", "beta"))
    growth = link_growth(*links)
    print(f"{'level':>5}  {'selected':>8} {'holds':>5} {'even':>5} {'grew':>5} {'rest':>5}", end="")
    print(f"  {'alpha':>8} {'holds':>5}  {'beta':>8} {'holds':>5}")
    held = {
        name: [row[first - 1 : last].sum() for row, (first, last) in zip(share, ranges)]
        for name, ranges in columns.items()
    }
    for level in range(levels):
        first, last = selected[level]
        even = sum(links.heads[first - 1 : last]) / sum(links.heads)
        cells = [f"{show(columns[n][level]):>8} {held[n][level]:5.2f}" for n in columns]
        cells[0] += f" {even:5.2f} {grown(growth[level], links.heads, first, last)}"
        print(f"{level + 1:5}  " + "  ".join(cells))
    weights = {name: count_weights(links, ranges) for name, ranges in columns.items()}
    weights["full"] = count_weights(links, [(1, blocks)] * levels)
    print("link weights: " + ", ".join(f"{name} {count:,}" for name, count in weights.items()))

    if args.base and not args.out:
        parser.error("--base needs --out FILE.py, the config that builds on it")
    if args.out:
        out = Path(args.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, snippet(args, selected))
        print(f"\nwrote {out}")
    print("\nto train with the selected links:")
    option = str(selected).replace(" ", "")
    print(f"  --cfg-options 'model.link_head.links={option}'")


def show(pair: tuple) -> str:
    return f"{pair[0]}–{pair[1]}"


def grown(growth: np.ndarray, heads: list[int], first: int, last: int) -> str:
    """Mean growth of the blocks from first to last, and of a level's other linked blocks."""
    import numpy as np

    chosen = np.zeros(len(heads), bool)
    chosen[first - 1 : last] = True
    linked = ~np.isnan(growth)
    cells = []
    for blocks in (chosen & linked, ~chosen & linked):
        mean = np.average(growth[blocks], weights=np.array(heads)[blocks]) if blocks.any() else None
        cells.append(f"{'–':>5}" if mean is None else f"{mean:5.2f}")
    return " ".join(cells)


def count_weights(links: tuple, ranges: list[tuple]) -> int:
    """Number of link weights with these ranges and the channels of the checkpoint's links."""
    channels = [weight.shape[0] for _, weight in sorted(links.state_dict.items())]
    return sum(c * sum(links.heads[a - 1 : b]) for c, (a, b) in zip(channels, ranges))


def snippet(args: argparse.Namespace, selected: list[tuple]) -> str:
    lines = [f"# Blocks that hold {args.keep:.0%} of the links of {args.checkpoint}."]
    if args.base:
        base = args.base
        if "::" not in base:
            base = os.path.relpath(base, Path(args.out).parent)
        lines.insert(0, f"# tools/train.py {args.out} --work-dir work_dirs/{Path(args.out).stem}")
        lines.append(f"_base_ = {str(base)!r}".replace("'", '"'))
    lines.append(f"model = dict(link_head=dict(links={selected}))")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with plain_errors():
        main()
