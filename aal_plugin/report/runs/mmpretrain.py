"""Reads a work dir of MMPretrain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aal_plugin.analysis.link_records import read_records
from aal_plugin.analysis.runs import read_run

from .checkpoint_links import links_of_checkpoints
from .literal_config import read_literal_config
from .recorded_run import LINK_WEIGHT, TOP1, RecordedRun

_VERSION = re.compile(r"^ +(Python|PyTorch|TorchVision|MMEngine|GPU [\d,]+): (.+)$", re.MULTILINE)


def is_mmpretrain(folder: Path) -> bool:
    """Whether a folder is a work dir of MMEngine with a training log."""
    return any(folder.glob("*/vis_data/scalars.json"))


def read_mmpretrain(folder: Path) -> RecordedRun:
    """Everything that the report shows of one work dir.

    Raises:
        ValueError: the work dir holds no training log.
    """
    log = read_run(folder)
    config = _config(folder)
    links, links_from = read_records(folder), "records of LinkHeatmapHook"
    if not links and LINK_WEIGHT in log.curves:
        links = links_of_checkpoints(folder.glob("epoch_*.pth"), r"epoch_(\d+)\.pth", first=1)
        links_from = "the checkpoints that the run kept; LinkHeatmapHook records every epoch"
    loader = config.get("train_dataloader") or {}
    length = config.get("train_cfg") or {}
    return RecordedRun(
        folder=folder,
        front_end="MMPretrain",
        settings=config,
        curves=log.curves,
        unit=log.unit,
        facts=_facts(config),
        versions=_versions(folder),
        seed=(config.get("randomness") or {}).get("seed"),
        planned=length.get("max_epochs" if log.unit == "epoch" else "max_iters"),
        steps=_steps(folder),
        batch_size=loader.get("batch_size"),
        links=links,
        links_from=links_from if links else "",
        teacher_own_top1=_teacher_own_top1(config),
        checkpoint=_newest_checkpoint(folder),
        config_file=_newest(folder.glob("*/vis_data/config.py")),
        tested=_tested(folder),
        seconds=_seconds(folder),
        scheduled=any(hook.get("type") == "LambdaDecayHook" for hook in _hooks(config)),
    )


def _config(folder: Path) -> dict[str, Any]:
    file = _newest(folder.glob("*/vis_data/config.py")) or _newest(folder.glob("*.py"))
    return read_literal_config(file) if file is not None else {}


def _newest(paths: Iterator[Path]) -> Path | None:
    """The last by name: folders of runs bear their time."""
    return max(paths, default=None)


def _newest_checkpoint(folder: Path) -> Path | None:
    files = (*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth"))
    numbered = {int(re.sub(r"\D", "", path.stem) or 0): path for path in files}
    return numbered[max(numbered)] if numbered else None


def _hooks(config: dict[str, Any]) -> list[dict]:
    hooks = [*(config.get("default_hooks") or {}).values(), *(config.get("custom_hooks") or [])]
    named = [dict(hook) for hook in hooks if isinstance(hook, dict)]
    for hook in named:
        hook["type"] = _type(hook)
    return named


def _type(part: Any) -> str:
    kind = part.get("type", "?") if isinstance(part, dict) else "none"
    return str(kind).rpartition(".")[2]


def _facts(config: dict[str, Any]) -> dict[str, str]:
    model = config.get("model") or {}
    data = (config.get("train_dataloader") or {}).get("dataset") or {}
    while isinstance(data.get("dataset"), dict):
        data = dict(data["dataset"], **{k: v for k, v in data.items() if k != "dataset"})
    facts = {"Student": _student(model), "Data": _data(data)}
    if model.get("teacher"):
        facts["Teacher"] = _teacher(model["teacher"])
    head = model.get("link_head")
    if head:
        facts["Links"] = str(head.get("links", "full"))
        facts["λ"] = f"{head.get('loss_weight', 2000.0):g}, {_decay(config)}"
    for key in ("distill_head", "transfer_head"):
        if model.get(key):
            facts["Other losses"] = ", ".join(
                filter(None, (facts.get("Other losses"), _type(model[key])))
            )
    optimizer = (config.get("optim_wrapper") or {}).get("optimizer") or {}
    if optimizer:
        facts["Optimizer"] = f"{_type(optimizer)}, lr {optimizer.get('lr', '?')}"
    return facts


def _student(model: dict) -> str:
    backbone = model.get("backbone") or {}
    arch = backbone.get("model_name") or backbone.get("arch")
    if isinstance(arch, dict):
        blocks, width = arch.get("num_layers") or arch.get("depths"), arch.get("embed_dims")
        heads = arch.get("num_heads")
        arch = f"{blocks} blocks, {heads} heads, width {width}"
    size = backbone.get("img_size")
    parts = [arch, backbone.get("depth") and f"depth {backbone['depth']}", size and f"{size} px"]
    words = ", ".join(str(part) for part in parts if part)
    return f"{_type(backbone)} ({words})" if words else _type(backbone)


def _teacher(teacher: dict) -> str:
    if isinstance(teacher.get("model"), dict):  # ModuleTeacher
        name = _type(teacher["model"])
    else:
        name = teacher.get("model_name") or Path(str(teacher.get("config", "?"))).stem
    if teacher.get("allow_random_weights"):
        return f"{name}, random weights"
    checkpoint = teacher.get("checkpoint")
    if checkpoint and checkpoint is not True:
        return f"{name}, weights of {Path(checkpoint).name}"
    return f"{name}, pretrained weights" if checkpoint or teacher.get("pretrained") else str(name)


def _data(data: dict) -> str:
    number = data.get("num_images")
    parts = [
        _type(data),
        number and f"{number:,} images",
        data.get("fraction") and f"fraction {data['fraction']}",
        data.get("data_root"),
    ]
    return ", ".join(str(part) for part in parts if part)


def _decay(config: dict[str, Any]) -> str:
    hook = next((hook for hook in _hooks(config) if hook["type"] == "LambdaDecayHook"), None)
    if hook is None:
        return "no decay"
    given = {key: value for key, value in hook.items() if key not in ("type", "_scope_", "head")}
    return ", ".join(f"{key} {value}" for key, value in given.items())


def _versions(folder: Path) -> dict[str, str]:
    for log in sorted(folder.glob("*/*.log"), reverse=True):
        found = dict(_VERSION.findall(log.read_text(encoding="utf-8", errors="replace")[:20_000]))
        if found:
            return {name: value.split(" (")[0] for name, value in found.items()}
    return {}


def _steps(folder: Path) -> int | None:
    last = [
        line["iter"]
        for path in folder.glob("*/vis_data/scalars.json")
        for line in map(json.loads, path.read_text().splitlines())
        if "iter" in line
    ]
    return max(last, default=None)


def _tested(folder: Path) -> dict[str, float]:
    """What tools/test.py wrote last into `<run>/<run>.json`."""
    results: dict[str, float] = {}
    for path in sorted(folder.glob("*/*.json")):
        try:
            read = json.loads(path.read_text())
        except ValueError:
            continue
        if isinstance(read, dict):
            results.update({k: v for k, v in read.items() if isinstance(v, (int, float))})
    return results


def _seconds(folder: Path) -> float | None:
    """Duration that tools/compare.py and tools/quickstart.py record."""
    file = folder / "result.json"
    return json.loads(file.read_text()).get("seconds") if file.is_file() else None


def _teacher_own_top1(config: dict[str, Any]) -> float | None:
    """Best top-1 in the log beside the teacher's checkpoint, for a teacher trained here."""
    checkpoint = ((config.get("model") or {}).get("teacher") or {}).get("checkpoint")
    if not isinstance(checkpoint, str):
        return None
    try:
        curve = read_run(Path(checkpoint).parent).curves.get(TOP1)
    except (ValueError, OSError):
        return None
    return float(curve[1].max()) if curve is not None else None
