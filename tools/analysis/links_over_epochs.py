#!/usr/bin/env python
"""Draw how the links changed over the epochs of a run.

    tools/analysis/links_over_epochs.py WORK_DIR OUT

OUT.gif is an animation, any other ending a strip of a few epochs side by side. Epochs are those
that LinkHeatmapHook kept in the work dir; without the hook, those of its epoch_*.pth.
"""

import argparse
import re
from pathlib import Path

from tqdm import tqdm

from aal_plugin.analysis import link_strength
from aal_plugin.analysis.heatmap import animate, strip
from aal_plugin.analysis.link_records import read_records
from aal_plugin.mm.checkpoints.reading import read_links
from aal_plugin.plain_errors import plain_errors
from aal_plugin.whole_files import save_figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dir")
    parser.add_argument("out", help="links.gif or links.png")
    parser.add_argument("--epochs", type=int, default=4, help="so many in a strip, at most")
    parser.add_argument("--per-second", type=float, default=4.0, help="epochs in an animation")
    args = parser.parse_args()
    by_epoch = read_records(args.work_dir) or from_checkpoints(Path(args.work_dir))
    if not by_epoch:
        raise ValueError(
            f"{args.work_dir} holds neither records of LinkHeatmapHook nor epoch_*.pth; train with "
            "--cfg-options default_hooks.links.type=LinkHeatmapHook"
        )
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".gif":
        animate(by_epoch, out, args.per_second)
    else:
        save_figure(strip(by_epoch, args.epochs), out, dpi=150)
    print(f"wrote {out}: epochs {', '.join(map(str, sorted(by_epoch)))}")


def from_checkpoints(work_dir: Path) -> dict:
    files = {
        int(found.group(1)): path
        for path in work_dir.glob("epoch_*.pth")
        if (found := re.fullmatch(r"epoch_(\d+)", path.stem))
    }
    reading = tqdm(sorted(files.items()), desc="checkpoints", disable=len(files) < 5)
    return {epoch: link_strength(*read_links(str(path))) for epoch, path in reading}


if __name__ == "__main__":
    with plain_errors():
        main()
