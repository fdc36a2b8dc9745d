#!/usr/bin/env python
"""Write an annotation file of a class-balanced subset of an image folder.

    tools/make_subset.py data/imagenet/train data/imagenet/meta/train_5pct.txt --fraction 0.05

The images are those of ClassBalancedSubset with the same fraction and seed. For MMPretrain:

    train_dataloader = dict(dataset=dict(ann_file="meta/train_5pct.txt", data_prefix="train"))
"""

import argparse
from pathlib import Path

from aal_plugin.files import write_whole
from aal_plugin.process import plain_errors, searched_in


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a folder of images for each class")
    parser.add_argument("out", type=Path, help="the file to write: one path and label per line")
    parser.add_argument("--fraction", type=float, required=True, help="in (0, 1]")
    parser.add_argument("--seed", type=int, default=0, help="a different seed chooses others")
    args = parser.parse_args()
    if not args.folder.is_dir():
        raise FileNotFoundError(f"{args.folder}: no such folder{searched_in(args.folder)}")

    # After the arguments: these imports take seconds.
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import DATASETS

    from aal_plugin.mm import ClassBalancedSubset

    init_default_scope("mmpretrain")
    folder = DATASETS.build(dict(type="CustomDataset", data_prefix=str(args.folder)))
    try:
        subset = ClassBalancedSubset(folder, args.fraction, args.seed)
    except ValueError as error:
        raise ValueError(f"--fraction: {error}") from None
    lines = []
    for index in range(len(subset)):
        info = subset.get_data_info(index)
        path = Path(info["img_path"]).relative_to(args.folder).as_posix()
        lines.append(f"{path} {info['gt_label']}\n")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, "".join(lines))
    print(f"{args.out}: {len(lines)} of {len(folder)} images, {len(folder.CLASSES)} classes")


if __name__ == "__main__":
    with plain_errors():
        main()
