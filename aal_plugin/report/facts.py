"""What a run's folder says beside its curves: a work dir of MMPretrain, an output folder of timm.

The functions `mmpretrain_details` and `timm_details` return fields of `RecordedRun` by name.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from aal_plugin.analysis.runs import TOP1, Run, read_run

_VERSION = re.compile(r"^ +(Python|PyTorch|TorchVision|MMEngine|GPU [\d,]+): (.+)$", re.MULTILINE)


def mmpretrain_details(folder: Path, log: Run) -> dict[str, Any]:
    """Raises SyntaxError if the config of the run is not Python."""
    dumped = log.folders[-1] / "vis_data" / "config.py"
    config_file = dumped if dumped.is_file() else max(folder.glob("*.py"), default=None)
    config = read_literal_config(config_file) if config_file is not None else {}
    length = config.get("train_cfg") or {}
    teacher = (config.get("model") or {}).get("teacher") or {}
    checkpoints = (*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth"))
    return dict(
        front_end="MMPretrain",
        settings=config,
        facts=_mmpretrain_facts(config),
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


def timm_details(folder: Path) -> dict[str, Any]:
    """Raises ValueError if args.yaml cannot be read."""
    args, checkpoint = folder / "args.yaml", folder / "last.pth.tar"
    try:
        options = (yaml.safe_load(args.read_text(encoding="utf-8")) if args.is_file() else {}) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{args} is damaged: {str(error).splitlines()[0]}") from error
    own = {key[4:]: value for key, value in options.items() if key[:4] == "aal_"}
    teacher = {key: own.pop(key) for key in list(own) if "teacher" in key}
    parts = {
        "Student": {key: options.get(key) for key in ("model", "img_size")},
        "Data": {key: options.get(key) for key in ("dataset", "data_dir")},
        "Teacher": teacher,
        "AAL": own if any(teacher.values()) else {},
        "Optimizer": {key: options.get(key) for key in ("opt", "lr", "lr_base", "weight_decay")},
    }
    given = {label: {k: v for k, v in part.items() if v} for label, part in parts.items()}
    return dict(
        front_end="timm",
        settings=options,
        facts={label: described(part) for label, part in given.items() if part},
        seed=options.get("seed"),
        planned=options.get("epochs"),
        batch_size=options.get("batch_size"),
        checkpoint=checkpoint if checkpoint.is_file() else None,
        config_file=args if args.is_file() else None,
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
        node.targets[0].id: ast.literal_eval(_Literals().visit(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


class _Literals(ast.NodeTransformer):
    """Turns calls of `dict` into literals, and what is no literal into its text."""

    def visit(self, node: ast.AST) -> Any:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "dict"
        ):
            words = [word for word in node.keywords if word.arg is not None]
            keys: list[ast.expr | None] = [ast.Constant(word.arg) for word in words]
            return ast.Dict(keys, [self.visit(word.value) for word in words])
        if isinstance(node, (ast.Dict, ast.List, ast.Tuple, ast.expr_context)):
            return self.generic_visit(node)
        try:
            ast.literal_eval(node)
        except ValueError:
            return ast.Constant(ast.unparse(node))
        return node


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


def _mmpretrain_facts(config: dict[str, Any]) -> dict[str, str]:
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
