#!/usr/bin/env python
"""Draw how the links changed over the epochs of a run.

    tools/analysis/links_over_epochs.py WORK_DIR OUT

OUT.gif is an animation; with another ending OUT is a strip of a few epochs side by side. The epochs
are those that LinkHeatmapHook recorded in the work dir, or without the hook those of epoch_*.pth,
or of the checkpoint-*.pth.tar of timm's train.py.
A value of 1 means that the links are as large as before training; --absolute draws magnitudes.
"""

import argparse
from pathlib import Path

from aal_plugin.files import save_figure
from aal_plugin.process import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dir")
    parser.add_argument("out", help="links.gif or links.png")
    parser.add_argument("--epochs", type=int, default=4, help="most epochs in a strip")
    parser.add_argument("--per-second", type=float, default=4.0, help="epochs per second in a GIF")
    parser.add_argument(
        "--absolute", action="store_true", help="draw magnitudes, not their growth since the start"
    )
    args = parser.parse_args()
    # After the arguments: these imports take seconds.
    from aal_plugin.analysis.heatmap import animate, strip
    from aal_plugin.analysis.saved_links import link_history

    by_epoch, label, _ = link_history(args.work_dir, args.absolute)
    if not by_epoch:
        raise ValueError(
            f"{args.work_dir} has neither records of LinkHeatmapHook nor epoch_*.pth; train with "
            "--cfg-options default_hooks.links.type=LinkHeatmapHook"
        )
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".gif":
        animate(by_epoch, out, args.per_second, label)
    else:
        save_figure(strip(by_epoch, args.epochs, label), out, dpi=150)
    print(f"wrote {out}: epochs {', '.join(map(str, sorted(by_epoch)))}")


if __name__ == "__main__":
    with plain_errors():
        main()
