#!/usr/bin/env python
"""Draw where several students look on the same images, and the boxes cut from their attention.

    tools/analysis/compare_attention.py OUT --student NAME CONFIG CHECKPOINT [--student ...]

The attention is the mean over the heads of the last block. --threshold takes one value for each
student, such as `localization/threshold` that tools/test.py printed: the box that
LocalizationAccuracy cuts there is dashed, the true box (where the data set has one) full.
"""

import argparse

from tqdm import tqdm

from aal_plugin.analysis.attention_sheet import attention_rows
from aal_plugin.analysis.localization import pick_map, threshold_boxes
from aal_plugin.mm.evaluation.attention_maps import AttentionReader, image_files
from aal_plugin.plain_errors import plain_errors
from aal_plugin.whole_files import save_figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", help="the figure to write")
    parser.add_argument(
        "--student", nargs=3, action="append", required=True, metavar=("NAME", "CONFIG", "FILE")
    )
    parser.add_argument("--threshold", type=float, nargs="+", help="from 0 to 1, for each student")
    parser.add_argument("--images", nargs="+", default=[], help="files or folders")
    parser.add_argument("--count", type=int, default=8, help="images of the validation set")
    args = parser.parse_args()
    if args.threshold and len(args.threshold) != len(args.student):
        parser.error(f"--threshold: give {len(args.student)} values, one for each --student")

    files = image_files(args.images)
    students, shown = {}, []
    for index, (name, config, checkpoint) in enumerate(tqdm(args.student, desc="students")):
        reader = AttentionReader(config, checkpoint)
        shown = list(reader.files(files) if files else reader.dataset(args.count))
        students[name] = []
        for image in shown:
            attention = pick_map(image.maps)
            found = None
            if args.threshold:
                size = image.image.shape[:2]
                (found,) = threshold_boxes(attention, size, [args.threshold[index]])
            students[name].append((attention.numpy(), found))
    figure = attention_rows(
        [image.image for image in shown], [image.box for image in shown], students
    )
    save_figure(figure, args.out, dpi=85)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    with plain_errors():
        main()
