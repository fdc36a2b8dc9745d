"""What an output folder of timm's train.py says, beside its curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


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
        course = ("gammas", "milestones", "stop_epoch", "start_epoch", "final", "warmup_epochs")
        given = [f"{name} {options[f'aal_{name}']}" for name in course if get(f"aal_{name}")]
        facts["λ"] = f"{get('aal_loss_weight', 2000.0):g}, {', '.join(given) or 'no decay'}"
    others = [f"{get('aal_distill')} distillation"] if get("aal_distill") else []
    if get("aal_guidance"):
        others.append(f"locality guidance, weight {get('aal_guidance')}")
    if others:
        facts["Other losses"] = ", ".join(others)
    if get("opt"):
        facts["Optimizer"] = f"{get('opt')}, lr {get('lr') or get('lr_base')}"
    return facts
