#!/usr/bin/env python
"""Choose selective links from the trained full links of a checkpoint.

    tools/analysis/select_links.py CHECKPOINT --keep 0.8 [--base CONFIG] [--out FILE.py]

For every teacher level: the smallest run of neighbouring student blocks that holds the share
--keep of the summed link magnitudes. 'even' is what those blocks would hold if all links were
alike; alpha and beta are the paper's Table 1. FILE.py is a config, to be trained as it is where
--base names the config that it builds on.
"""

import argparse
import os
from pathlib import Path

from aal_plugin.analysis import held_share, link_share, select_ranges
from aal_plugin.core import link_ranges
from aal_plugin.mm.checkpoints.reading import read_links
from aal_plugin.plain_errors import plain_errors
from aal_plugin.whole_files import write_whole


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="trained with AAL, best with link_head.links='full'")
    parser.add_argument("--keep", type=float, default=0.8, help="share of a level's links, (0, 1]")
    parser.add_argument("--base", help="the config that FILE.py builds on")
    parser.add_argument("--out", metavar="FILE.py", help="write a config with these links")
    parser.add_argument(
        "--ema", action="store_true", help="the averaged links of EMAHook, not the raw ones"
    )
    args = parser.parse_args()
    links = read_links(args.checkpoint, args.ema)
    share = link_share(*links)
    levels, blocks = share.shape
    if links.ranges != [(1, blocks)] * levels:
        print(
            f"note: the checkpoint's links were selective already: {links.ranges}; blocks outside "
            "of them had no links to select from"
        )

    selected = select_ranges(share, args.keep)
    columns = {"selected": selected}
    columns.update((name, link_ranges(name, levels, blocks)) for name in ("alpha", "beta"))
    print(f"{'level':>5}  {'selected':>8} {'holds':>5} {'even':>5}", end="")
    print(f"  {'alpha':>8} {'holds':>5}  {'beta':>8} {'holds':>5}")
    held = {name: held_share(share, ranges) for name, ranges in columns.items()}
    for level in range(levels):
        first, last = selected[level]
        even = sum(links.heads[first - 1 : last]) / sum(links.heads)
        cells = [f"{show(columns[n][level]):>8} {held[n][level]:5.2f}" for n in columns]
        cells[0] += f" {even:5.2f}"
        print(f"{level + 1:5}  " + "  ".join(cells))
    weights = {name: count_weights(links, ranges) for name, ranges in columns.items()}
    weights["full"] = count_weights(links, [(1, blocks)] * levels)
    print("link weights: " + ", ".join(f"{name} {count:,}" for name, count in weights.items()))

    if args.base and not args.out:
        parser.error("--base is what FILE.py builds on; give --out FILE.py")
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


def count_weights(links: tuple, ranges: list[tuple]) -> int:
    """Weights of the links of these ranges, from the channels that the checkpoint's links have."""
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
