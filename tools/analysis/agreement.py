#!/usr/bin/env python
"""Print and draw how often checkpoints disagree with each other and with the labels.

    tools/analysis/agreement.py OUT.png CONFIG CHECKPOINT [CONFIG CHECKPOINT ...]

The images come from each config's `test_dataloader`, which must list the same images.
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from aal_plugin.files import save_figure
from aal_plugin.process import plain_errors


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
    import torch

    from aal_plugin.analysis.agreement import disagreement, format_disagreement, plot_disagreement

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
    matrix = disagreement(rows)
    print(format_disagreement(matrix, names))
    save_figure(plot_disagreement(matrix, names), args.out, dpi=120)


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


if __name__ == "__main__":
    with plain_errors():
        main()
