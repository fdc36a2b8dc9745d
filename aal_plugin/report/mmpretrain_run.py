"""What a work dir of MMPretrain says, beside its curves."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from aal_plugin.analysis.runs import TOP1, Run, read_run

_VERSION = re.compile(r"^ +(Python|PyTorch|TorchVision|MMEngine|GPU [\d,]+): (.+)$", re.MULTILINE)


def details(folder: Path, log: Run) -> dict[str, Any]:
    """Fields of `RecordedRun` by name.

    Raises:
        SyntaxError: the config of the run is not Python.
    """
    dumped = log.folders[-1] / "vis_data" / "config.py"
    config_file = dumped if dumped.is_file() else max(folder.glob("*.py"), default=None)
    config = read_literal_config(config_file) if config_file is not None else {}
    length = config.get("train_cfg") or {}
    teacher = (config.get("model") or {}).get("teacher") or {}
    return dict(
        front_end="MMPretrain",
        settings=config,
        facts=_facts(config),
        versions=_versions(log),
        seed=(config.get("randomness") or {}).get("seed"),
        planned=length.get("max_epochs" if log.unit == "epoch" else "max_iters"),
        batch_size=(config.get("train_dataloader") or {}).get("batch_size"),
        teacher_own_top1=_best_top1_beside(teacher.get("checkpoint")),
        checkpoint=_newest_checkpoint(folder),
        config_file=config_file if config_file == dumped else None,
        # tools/test.py writes <run>/<run>.json; tools/compare.py writes result.json.
        tested={
            key: value
            for path in sorted(folder.glob("*/*.json"))
            for key, value in _json(path).items()
            if isinstance(value, (int, float))
        },
        seconds=_json(folder / "result.json").get("seconds"),
        scheduled=_lambda_hook(config) is not None,
    )


def read_literal_config(path: str | Path) -> dict[str, Any]:
    """The top-level values of a config that MMEngine dumped.

    A dumped config assigns literals and `dict(...)` calls. Python parses it here, but nothing in
    the file runs. An expression of another kind becomes its source text.

    Raises:
        SyntaxError: the file is not Python.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        ...     _ = file.write("model = dict(type='A', size=(2, 3))")
        ...     file.flush()
        ...     read_literal_config(file.name)
        {'model': {'type': 'A', 'size': (2, 3)}}
    """
    tree = ast.parse(Path(path).read_text(encoding="utf-8"), filename=str(path))
    return {
        node.targets[0].id: _value(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {word.arg: _value(word.value) for word in node.keywords if word.arg is not None}
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if isinstance(key, ast.Constant)]
        return {key.value: _value(value) for key, value in zip(keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_value(entry) for entry in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; empty if it is missing or incomplete."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _newest_checkpoint(folder: Path) -> Path | None:
    files = (*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth"))
    return max(files, key=lambda path: int(re.sub(r"\D", "", path.stem) or 0), default=None)


def _versions(log: Run) -> dict[str, str]:
    for run in reversed(log.folders):
        for file in run.glob("*.log"):
            text = file.read_text(encoding="utf-8", errors="replace")[:20_000]
            if found := dict(_VERSION.findall(text)):
                return {name: value.split(" (")[0] for name, value in found.items()}
    return {}


def _best_top1_beside(checkpoint: Any) -> float | None:
    """Best top-1 in the log beside a teacher's checkpoint, for a teacher trained here."""
    try:
        curves = read_run(Path(checkpoint).parent).curves
    except (TypeError, ValueError, OSError):
        return None
    return float(curves[TOP1][1].max()) if TOP1 in curves else None


def _type(part: Any) -> str:
    kind = part.get("type", "?") if isinstance(part, dict) else "none"
    return str(kind).rpartition(".")[2]


def _lambda_hook(config: dict[str, Any]) -> dict | None:
    hooks = [*(config.get("default_hooks") or {}).values(), *(config.get("custom_hooks") or [])]
    return next((hook for hook in hooks if _type(hook) == "LambdaDecayHook"), None)


def _facts(config: dict[str, Any]) -> dict[str, str]:
    model = config.get("model") or {}
    data = (config.get("train_dataloader") or {}).get("dataset") or {}
    while isinstance(data.get("dataset"), dict):
        data = dict(data["dataset"], **{k: v for k, v in data.items() if k != "dataset"})
    facts = {"Student": _student(model), "Data": _data(data)}
    if model.get("teacher"):
        facts["Teacher"] = _teacher(model["teacher"])
    if head := model.get("link_head"):
        facts["Links"] = str(head.get("links", "full"))
        hook = _lambda_hook(config) or {}
        given = [f"{k} {v}" for k, v in hook.items() if k not in ("type", "_scope_", "head")]
        facts["λ"] = f"{head.get('loss_weight', 2000.0):g}, {', '.join(given) or 'no decay'}"
    others = [_type(model[key]) for key in ("distill_head", "transfer_head") if model.get(key)]
    if guidance := model.get("guidance"):
        weight = guidance.get("weight", 2.5) if isinstance(guidance, dict) else guidance
        others.append(f"locality guidance, weight {weight}")
    if others:
        facts["Other losses"] = ", ".join(others)
    if optimizer := (config.get("optim_wrapper") or {}).get("optimizer"):
        facts["Optimizer"] = f"{_type(optimizer)}, lr {optimizer.get('lr', '?')}"
    return facts


def _student(model: dict) -> str:
    backbone = model.get("backbone") or {}
    arch = backbone.get("model_name") or backbone.get("arch")
    if isinstance(arch, dict):
        blocks, width = arch.get("num_layers") or arch.get("depths"), arch.get("embed_dims")
        arch = f"{blocks} blocks, {arch.get('num_heads')} heads, width {width}"
    depth, size = backbone.get("depth"), backbone.get("img_size")
    words = _words(arch, depth and f"depth {depth}", size and f"{size} px")
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
    number, fraction = data.get("num_images"), data.get("fraction")
    images = number and f"{number:,} images"
    return _words(_type(data), images, fraction and f"fraction {fraction}", data.get("data_root"))


def _words(*parts: Any) -> str:
    return ", ".join(str(part) for part in parts if part)
