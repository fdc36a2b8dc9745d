"""The shapes set as an image folder: `python -m aal_plugin.data`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from aal_plugin.files import write_whole

from .shapes import MIN_SIZE, SPLITS, check_whole, draw_shapes, split_seed
from .silhouettes import CLASSES

_MARKER = ".aal_shapes"  # marks a folder that this module made; written first
_BOXES = "boxes.json"


def export_image_folder(
    root: str | os.PathLike, train: int, val: int, size: int = 64, seed: int = 0, test: int = 0
) -> None:
    """Write train/<class>/<index>.png, val/<class>/<index>.png and boxes.json under `root`.

    With `test` above 0, it writes that number of test/<class>/<index>.png too.

    The index is the image's index in `ShapesDataset(split, num, size, seed)`. boxes.json maps
    "train/<class>/<index>.png" to [x1, y1, x2, y2] in pixels, x2 and y2 exclusive; it is written
    last, so a folder that has it is complete. Replaces an earlier export in `root`.

    Raises:
        FileExistsError: root holds files that this function did not write.
        ValueError: a number is out of range.
    """
    from PIL import Image  # here: drawing needs only NumPy

    check_whole("train", train, 1)
    check_whole("val", val, 1)
    check_whole("size", size, MIN_SIZE)
    check_whole("seed", seed, 0)
    check_whole("test", test, 0)
    numbers = {split: num for split, num in zip(SPLITS, (train, val, test)) if num}
    root = Path(root).expanduser()
    _prepare(root, numbers)
    boxes = {}
    for split, num in numbers.items():
        shapes = draw_shapes(num, size, split_seed(split, seed), f"{split} images")
        for i, (image, label, box) in enumerate(zip(*shapes)):
            name = f"{split}/{CLASSES[label]}/{i:05d}.png"
            Image.fromarray(image).save(root / name)
            boxes[name] = box.tolist()
    write_whole(root / _BOXES, json.dumps(boxes, indent=0) + "\n")


def _prepare(root: Path, splits: Collection[str]) -> None:
    """Make the folders of these splits, and delete the images of an earlier export."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if not (root / _MARKER).is_file():
            raise FileExistsError(
                f"{root} is neither an empty folder nor an earlier export; choose another folder"
            )
        (root / _BOXES).unlink(missing_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    (root / _MARKER).touch()
    for split in SPLITS:
        for old in (root / split).glob("*/[0-9]*.png"):
            old.unlink()
        for folder in (*(root / split).glob("*/"), root / split):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    for split in splits:
        for name in CLASSES:
            (root / split / name).mkdir(parents=True, exist_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m aal_plugin.data", description=__doc__)
    option = parser.add_argument
    option("--export", metavar="DIR", required=True, help="where train/, val/ and boxes.json go")
    option("--train", type=int, default=2000, metavar="N", help="training images to export")
    option("--val", type=int, default=1000, metavar="N", help="validation images to export")
    option("--test", type=int, default=0, metavar="N", help="test images (default: none)")
    option("--size", type=int, default=64, help="side of an image in pixels")
    option("--seed", type=int, default=0, help="a different seed draws different images")
    args = parser.parse_args(argv)
    try:
        export_image_folder(args.export, args.train, args.val, args.size, args.seed, args.test)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    test = f", {args.test} test" if args.test else ""
    print(f"{args.export}: {args.train} train, {args.val} val{test} images, {_BOXES}")
    return 0
