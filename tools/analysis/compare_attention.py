#!/usr/bin/env python
"""Draw where several students look on the same images, and the boxes cut from their attention.

    tools/analysis/compare_attention.py OUT --student NAME CONFIG CHECKPOINT [--student ...]

The attention is the mean over the heads of the last block. If the data set has boxes, each
student's threshold is the one with most right boxes on --threshold-images validation images;
--threshold sets it, one value per student. The box cut there is dashed, the true box is full.
"""

import argparse

from tqdm import tqdm

from aal_plugin.files import save_figure
from aal_plugin.process import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", help="the figure to write")
    parser.add_argument(
        "--student", nargs=3, action="append", required=True, metavar=("NAME", "CONFIG", "FILE")
    )
    parser.add_argument(
        "--threshold", type=float, nargs="+", help="from 0 to 1, one per student (default: found)"
    )
    parser.add_argument(
        "--threshold-images", type=int, default=100, help="images from which it is found"
    )
    parser.add_argument("--images", nargs="+", default=[], help="files or folders")
    parser.add_argument("--count", type=int, default=8, help="number of validation images")
    args = parser.parse_args()
    if args.threshold and len(args.threshold) != len(args.student):
        parser.error(f"--threshold: give {len(args.student)} values, one for each --student")

    # After the arguments: these imports take seconds.
    from aal_plugin.analysis.attention import attention_rows
    from aal_plugin.analysis.localization import find_threshold, pick_map, threshold_boxes
    from aal_plugin.mm.evaluation.attention_maps import AttentionReader, image_files

    files = image_files(args.images)
    students, predictions, shown = {}, {}, []
    for index, (name, config, checkpoint) in enumerate(tqdm(args.student, desc="students")):
        reader = AttentionReader(config, checkpoint)
        shown = list(reader.files(files) if files else reader.dataset(args.count))
        threshold = args.threshold[index] if args.threshold else None
        if threshold is None and any(image.box is not None for image in shown):
            threshold = find_threshold(
                (pick_map(image.maps), image.image.shape[:2], image.box[None])
                for image in reader.dataset(args.threshold_images)
                if image.box is not None
            )
            tqdm.write(f"{name}: threshold {threshold:.2f}")
        students[name] = []
        predictions[name] = [image.prediction for image in shown]
        for image in shown:
            attention = pick_map(image.maps)
            found = None
            if threshold is not None:
                (found,) = threshold_boxes(attention, image.image.shape[:2], [threshold])
            students[name].append((attention.numpy(), found))
    figure = attention_rows(
        [image.image for image in shown], [image.box for image in shown], students, predictions
    )
    save_figure(figure, args.out, dpi=85)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    with plain_errors():
        main()
