#!/usr/bin/env python
"""Draw a student's attention, and how its links imitate the teacher: one sheet per image.

    tools/analysis/show_attention.py CONFIG CHECKPOINT [IMAGE...] [--out DIR]

IMAGE is a file or a folder; the default is the first images of the config's validation set. The
sheets are written to DIR, by default the folder `attention` beside the checkpoint.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from aal_plugin.files import save_figure
from aal_plugin.process import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint")
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument("--out", help="the folder to write to")
    parser.add_argument("--count", type=int, default=4, help="number of validation images")
    parser.add_argument(
        "--blocks", type=int, nargs="+", help="blocks whose heads are drawn (default: up to six)"
    )
    parser.add_argument(
        "--channels", type=int, default=3, help="teacher maps per level, with their imitations"
    )
    parser.add_argument(
        "--ema", action="store_true", help="use the averaged weights of EMAHook, not the raw ones"
    )
    args = parser.parse_args()
    # After the arguments: these imports take seconds.
    from aal_plugin.analysis.attention import attention_sheet, spread_blocks, strongest_pairs
    from aal_plugin.mm.evaluation.attention_maps import AttentionReader, image_files

    files = image_files(args.images)
    reader = AttentionReader(args.config, args.checkpoint, args.ema)
    total = len(reader.recorder.heads)
    blocks = args.blocks or spread_blocks(total, 6)
    if not all(1 <= block <= total for block in blocks):
        parser.error(f"--blocks {blocks}; choose from 1 to {total}")

    out = Path(args.out) if args.out else Path(args.checkpoint).parent / "attention"
    out.mkdir(parents=True, exist_ok=True)
    images = reader.files(files) if files else reader.dataset(args.count)
    for shown in tqdm(images, total=len(files) or args.count, desc="sheets", file=sys.stderr):
        sheet = attention_sheet(shown, blocks, strongest_pairs(shown, args.channels))
        save_figure(sheet, out / f"{shown.name}.png", dpi=90)
    print(f"wrote {out}")


if __name__ == "__main__":
    with plain_errors():
        main()
