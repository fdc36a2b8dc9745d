#!/usr/bin/env python
"""Print and draw how often checkpoints disagree with each other and with the labels.

    tools/analysis/agreement.py OUT.png CONFIG CHECKPOINT [CONFIG CHECKPOINT ...]

The images come from each config's `test_dataloader`, which must list the same images. A cell is the
share of images on which two models, or a model and the labels, differ (DeiT, section 5.3).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from aal_plugin.files import save_figure
from aal_plugin.process import plain_errors

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", help="the picture to write")
    parser.add_argument("pairs", nargs="+", metavar="CONFIG CHECKPOINT")
    parser.add_argument("--device", help="default: cuda, or cpu where there is none")
    parser.add_argument(
        "--ema", action="store_true", help="use the averaged weights of EMAHook, not the raw ones"
    )
    args = parser.parse_args()
    if len(args.pairs) % 2:
        parser.error("give a checkpoint after each config")
    # After the arguments: these imports take seconds.
    import numpy as np
    import torch

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    pairs = list(zip(args.pairs[::2], args.pairs[1::2]))
    names, rows = ["labels"], []
    for config, checkpoint in pairs:
        truth, predicted = predict(config, checkpoint, device, args.ema)
        rows = rows or [truth]
        if truth != rows[0]:
            raise ValueError(
                f"{config}: its test_dataloader lists other images than that of {pairs[0][0]}"
            )
        rows.append(predicted)
        names.append(name_of(config, checkpoint, pairs))
    labels = np.array(rows)
    matrix = (labels[:, None] != labels[None]).mean(axis=-1)
    print("| | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
    for name, row in zip(names, matrix):
        print(f"| {name} | " + " | ".join(f"{share:.3f}" for share in row) + " |")
    save_figure(heatmap(matrix, names), args.out, dpi=120)


def name_of(config: str, checkpoint: str, pairs: list) -> str:
    """The config's name, with the checkpoint's where several share the config."""
    alone = sum(config == other for other, _ in pairs) == 1
    return Path(config).stem + ("" if alone else f" {Path(checkpoint).parent.name}")


def predict(
    config: str, checkpoint: str, device: str, ema: bool = False
) -> tuple[list[int], list[int]]:
    """Labels and predictions for the images of the config's test_dataloader."""
    import torch
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner

    from aal_plugin.analysis.saved_links import saved_weights
    from aal_plugin.mm.configs.reading import read_config
    from aal_plugin.mm.export import student_of
    from aal_plugin.mm.runs.as_data import load_as_data

    cfg = read_config(config)
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    weights = saved_weights(load_as_data(checkpoint), ema, checkpoint)
    model = student_of(cfg, weights, checkpoint).to(device)
    truth: list[int] = []
    predicted: list[int] = []
    for data in tqdm(Runner.build_dataloader(cfg.test_dataloader), desc=Path(config).stem):
        with torch.no_grad():
            samples = model.test_step(data)
        truth += [int(sample.gt_label) for sample in samples]
        predicted += [int(sample.pred_label) for sample in samples]
    return truth, predicted


def heatmap(matrix: np.ndarray, names: list[str]) -> Figure:
    """The shares, with their values written into the cells."""
    import numpy as np
    from matplotlib.figure import Figure

    from aal_plugin.analysis.curves import as_text

    side = 1.5 + 0.85 * len(names)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="cividis", vmin=0)
    for (row, column), value in np.ndenumerate(matrix):
        shade = "white" if value < matrix.max() / 2 else "black"
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=shade, fontsize=9)
    shown = [as_text(name) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=35, ha="right")
    axes.set_yticks(range(len(names)), shown)
    figure.colorbar(image, label="share of images on which they differ", shrink=0.8)
    return figure


if __name__ == "__main__":
    with plain_errors():
        main()
