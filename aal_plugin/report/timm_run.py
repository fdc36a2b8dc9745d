"""What an output folder of timm's train.py says, beside its curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .mmpretrain_run import described


def details(folder: Path) -> dict[str, Any]:
    """Fields of `RecordedRun` by name.

    Raises:
        ValueError: args.yaml cannot be read.
    """
    args, checkpoint = folder / "args.yaml", folder / "last.pth.tar"
    try:
        options = (yaml.safe_load(args.read_text(encoding="utf-8")) if args.is_file() else {}) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{args} is damaged: {str(error).splitlines()[0]}") from error
    return dict(
        front_end="timm",
        settings=options,
        facts=_facts(options),
        seed=options.get("seed"),
        planned=options.get("epochs"),
        batch_size=options.get("batch_size"),
        checkpoint=checkpoint if checkpoint.is_file() else None,
        config_file=args if args.is_file() else None,
    )


def _facts(options: dict[str, Any]) -> dict[str, str]:
    own = {key[4:]: value for key, value in options.items() if key[:4] == "aal_" and value}
    teacher = {key: own.pop(key) for key in list(own) if "teacher" in key}
    parts = {
        "Student": _of(options, "model", "img_size"),
        "Data": _of(options, "dataset", "data_dir"),
        "Teacher": teacher,
        "AAL": own if teacher else {},
        "Optimizer": _of(options, "opt", "lr", "lr_base", "weight_decay"),
    }
    return {label: described(part) for label, part in parts.items() if part}


def _of(options: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: options[key] for key in keys if options.get(key)}
