"""Reads an output folder of timm's train.py."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from aal_plugin.analysis.runs import Curve

from .checkpoint_links import links_of_checkpoints
from .recorded_run import (
    LINK_DISTANCE,
    LINK_WEIGHT,
    LOSS,
    LOSS_WITH_LINKS,
    TOP1,
    RecordedRun,
)

# Columns of summary.csv, and the keys of the report.
_COLUMNS = {
    "eval_top1": TOP1,
    "train_loss": LOSS_WITH_LINKS,
    "train_task_loss": LOSS,
    "train_link_distance": LINK_DISTANCE,
    "train_link_weight": LINK_WEIGHT,
    "eval_loss": "eval_loss",
    "lr": "lr",
}


def is_timm(folder: Path) -> bool:
    """Whether a folder is an output folder of timm's train.py."""
    return (folder / "summary.csv").is_file()


def read_timm(folder: Path) -> RecordedRun:
    """Everything that the report shows of one output folder."""
    args = folder / "args.yaml"
    options: dict[str, Any] = yaml.safe_load(args.read_text()) if args.is_file() else {}
    curves = _curves(folder / "summary.csv")
    if LINK_WEIGHT not in curves and LOSS_WITH_LINKS in curves:  # trained without AAL
        curves[LOSS] = curves.pop(LOSS_WITH_LINKS)
    links = {}
    if LINK_WEIGHT in curves:
        files = folder.glob("checkpoint-*.pth.tar")
        links = links_of_checkpoints(files, r"checkpoint-(\d+)\.pth\.tar", first=0)
    checkpoint = folder / "last.pth.tar"
    return RecordedRun(
        folder=folder,
        front_end="timm",
        settings=options,
        curves=curves,
        unit="epoch",
        facts=_facts(options),
        seed=options.get("seed"),
        planned=options.get("epochs"),
        batch_size=options.get("batch_size"),
        links=links,
        links_from="the checkpoints that the run kept" if links else "",
        checkpoint=checkpoint if checkpoint.is_file() else None,
        config_file=args if args.is_file() else None,
    )


def _curves(path: Path) -> dict[str, Curve]:
    """Curves by key, over epochs from 1; a resumed run's row replaces an earlier one."""
    with open(path, newline="") as file:
        rows = {int(row["epoch"]) + 1: row for row in csv.DictReader(file)}
    curves = {}
    for column, key in _COLUMNS.items():
        values = {epoch: row[column] for epoch, row in rows.items() if row.get(column)}
        if values:
            epochs = sorted(values)
            curves[key] = (np.array(epochs), np.array([float(values[e]) for e in epochs]))
    return curves


def _facts(options: dict[str, Any]) -> dict[str, str]:
    get = options.get
    facts = {
        "Student": str(get("model", "?")) + (f" ({get('img_size')} px)" if get("img_size") else ""),
        "Data": ", ".join(str(get(key)) for key in ("dataset", "data_dir") if get(key)) or "?",
    }
    if get("aal_teacher"):
        source = "random weights" if get("aal_random_teacher") else "pretrained weights"
        if checkpoint := get("aal_teacher_checkpoint"):
            source = f"weights of {Path(checkpoint).name}"
        facts["Teacher"] = f"{get('aal_teacher')}, {source}"
        facts["Links"] = str(get("aal_links", "full"))
        decay = {
            name.removeprefix("aal_"): value
            for name, value in options.items()
            if name in ("aal_gammas", "aal_milestones", "aal_stop_epoch", "aal_start_epoch")
            or name in ("aal_final", "aal_warmup_epochs")
            if value
        }
        words = ", ".join(f"{name} {value}" for name, value in decay.items())
        facts["λ"] = f"{get('aal_loss_weight', 2000.0):g}, {words or 'no decay'}"
    if get("aal_distill"):
        facts["Other losses"] = f"{get('aal_distill')} distillation"
    if get("opt"):
        facts["Optimizer"] = f"{get('opt')}, lr {get('lr') or get('lr_base')}"
    return facts
