"""What a work dir of MMPretrain says, beside its curves."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
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
    checkpoints = (*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth"))
    return dict(
        front_end="MMPretrain",
        settings=config,
        facts=_facts(config),
        versions=_versions(log),
        seed=(config.get("randomness") or {}).get("seed"),
        planned=length.get("max_epochs" if log.unit == "epoch" else "max_iters"),
        batch_size=(config.get("train_dataloader") or {}).get("batch_size"),
        teacher_own_top1=_best_top1_beside(teacher.get("checkpoint")),
        checkpoint=max(
            checkpoints, key=lambda path: int(re.sub(r"\D", "", path.stem) or 0), default=None
        ),
        config_file=config_file if config_file == dumped else None,
        # tools/test.py writes <run>/<run>.json; tools/compare.py writes result.json.
        tested={
            key: value
            for path in sorted(folder.glob("*/*.json"))
            for key, value in _json(path).items()
            if isinstance(value, (int, float))
        },
        seconds=_json(folder / "result.json").get("seconds"),
        scheduled=bool(_lambda_hook(config, "link_head")),
    )


def read_literal_config(path: str | Path) -> dict[str, Any]:
    """The top-level values of a config that MMEngine dumped.

    A dumped config assigns literals and `dict(...)` calls. Python parses it here, but nothing in
    the file runs. An expression of another kind becomes its source text.

    Raises:
        SyntaxError: the file is not Python.
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


def _versions(log: Run) -> dict[str, str]:
    for file in [file for run in reversed(log.folders) for file in run.glob("*.log")]:
        text = file.read_text(encoding="utf-8", errors="replace")[:20_000]
        if found := dict(_VERSION.findall(text)):
            return {name: value.split(" (")[0] for name, value in found.items()}
    return {}


def _best_top1_beside(checkpoint: Any) -> float | None:
    """Best top-1 in the log beside a teacher's checkpoint, for a teacher trained here."""
    try:
        return read_run(Path(checkpoint).parent).best(TOP1)
    except (TypeError, ValueError, OSError):
        return None


def described(part: Any) -> str:
    """A part of a config in words: its type, and its settings that are numbers or names.

    Example:
        >>> described(dict(type="mmpretrain.ViT", arch=dict(depth=6), img_size=48, init_cfg=None))
        'ViT (depth 6, img_size 48)'
        >>> described(dict(weight=2.5, file="runs/epoch_3.pth"))
        'weight 2.5, file epoch_3.pth'
    """
    words = ", ".join(_settings(part))
    name = str(part.get("type", "")).rpartition(".")[2]
    return f"{name} ({words})" if name and words else name or words


def _settings(part: dict[str, Any]) -> Iterator[str]:
    for key, value in part.items():
        if isinstance(value, dict) and "type" in value:
            yield f"{key} {described(value)}"
        elif isinstance(value, dict):
            yield from _settings(value)
        elif isinstance(value, str) and key not in ("type", "_scope_", "head"):
            yield f"{key} {value.rstrip('/').rpartition('/')[2]}"  # of a path, the file
        elif value is not None and not isinstance(value, str) and "{" not in str(value):
            yield f"{key} {value}"  # not a list of dicts, such as a pipeline


def _lambda_hook(config: dict[str, Any], head: str) -> dict[str, Any]:
    """The LambdaDecayHook of a head; without a name the hook is that of the first there is."""
    model = config.get("model") or {}
    first = next((h for h in ("link_head", "transfer_head", "guidance") if model.get(h)), None)
    hooks = [*(config.get("default_hooks") or {}).values(), *(config.get("custom_hooks") or [])]
    own = [h for h in hooks if isinstance(h, dict) and "LambdaDecayHook" in str(h.get("type"))]
    return next((hook for hook in own if hook.get("head", first) == head), {})


def _facts(config: dict[str, Any]) -> dict[str, str]:
    model = config.get("model") or {}
    data = (config.get("train_dataloader") or {}).get("dataset") or {}
    parts = {"Student": model.get("backbone"), "Data": data, "Teacher": model.get("teacher")}
    if links := model.get("link_head"):
        parts["Links"] = dict(dict(links="full", loss_weight=2000.0), **links)
    if guidance := model.get("guidance"):
        given = guidance if isinstance(guidance, dict) else dict(weight=guidance)
        parts["Guidance"] = dict(dict(weight=2.5), **given)
    facts = {label: described(part) for label, part in parts.items() if part}
    for head, label in (("link_head", "λ"), ("guidance", "Guidance weight")):
        if model.get(head):
            course = ", ".join(_settings(_lambda_hook(config, head)))
            facts[label] = course or "constant"
    others = [model[key] for key in ("distill_head", "transfer_head") if model.get(key)]
    if others:
        facts["Other losses"] = "; ".join(map(described, others))
    if optimizer := (config.get("optim_wrapper") or {}).get("optimizer"):
        facts["Optimizer"] = described(optimizer)
    return facts
