"""What tools/timm_train.py changes in timm's train.py, within its own process only."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import sys
from argparse import Namespace
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import torch
from timm.data import resolve_data_config
from timm.task import ClassificationTask
from timm.utils import unwrap_model
from torch import nn

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.core import FrozenTeacher
from aal_plugin.data_only import data_only
from aal_plugin.process import searched_in

from .attention_link_task import AttentionLinkTask
from .from_options import build_teacher, check_files, task_settings
from .options import add_options, check_names, in_options

_TASKS = ("ClassificationTask", "MultiLabelClassificationTask")


def load_script(path: str) -> Any:
    """Import a train.py as a module, after checking that it has the parts that AAL needs.

    Raises:
        FileNotFoundError: no such file.
        ValueError: parts are missing; the message lists them. The script has not run then.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path}: no such file{searched_in(path)}; give the path of timm's train.py"
        )
    missing = missing_parts(Path(path).read_text(encoding="utf-8"))
    if missing:
        raise ValueError(
            f"{path}: AAL cannot be added to this script, because it lacks "
            f"{'; '.join(missing)}. The train.py of timm 1.0.27 and later has all of these"
        )
    name = Path(path).stem
    loader = SourceFileLoader(name, path)  # for a name without .py too
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    # Under its own name, by which a spawned worker looks up its classes.
    sys.modules.setdefault(name, script)
    loader.exec_module(script)
    return script


def missing_parts(source: str) -> list[str]:
    """The parts that AAL needs and the source of a script lacks, in words."""
    body = ast.parse(source).body
    imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assigned = [node for part in body if isinstance(part, ast.Assign) for node in part.targets]
    names = {alias.asname or alias.name for node in imports for alias in node.names}
    names |= {node.id for node in assigned if isinstance(node, ast.Name)}
    functions = {
        node.name: {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}
        for node in body
        if isinstance(node, ast.FunctionDef)
    }
    expected = {
        "a function main()": "main" in functions,
        "an argparse.ArgumentParser named parser": "parser" in names,
        "ClassificationTask, imported from timm.task": "ClassificationTask" in names,
        "a function train_one_epoch with parameters epoch and task": {"epoch", "task"}
        <= functions.get("train_one_epoch", set()),
        # Before timm 1.0.27 the optimizer received the model, without the links.
        "task.get_trainable_module(), whose parameters the optimizer gets": (
            ".get_trainable_module(" in source
        ),
    }
    return [part for part, found in expected.items() if not found]


def put_task_in(script: Any) -> None:
    """Make a loaded train.py parse AAL's options, build AAL's task and set the task's epoch."""
    parser = script.parser
    add_options(parser)
    parse_known_args = parser.parse_known_args  # parse_args calls it too
    tasks = {name: getattr(script, name) for name in _TASKS if getattr(script, name, None)}

    def parse(*given: Any, **options: Any) -> tuple[Namespace, list[str]]:
        args, unknown = parse_known_args(*given, **options)
        try:
            check_names(args, unknown)
            settings = task_settings(args)
            check_files(args)
            teacher = build_teacher(args)
        except (FileNotFoundError, ValueError) as error:
            # Without argparse's usage: that of train.py is longer than a screen.
            parser.exit(2, f"{parser.prog}: error: {in_options(error)}\n")
        for name, task in tasks.items():
            setattr(script, name, launched(task, teacher, settings, args))
        return args, unknown

    parser.parse_known_args = parse
    script.train_one_epoch = setting_the_epoch(script.train_one_epoch)
    for name in ("resume_task_checkpoint", "load_task_ema_checkpoint"):
        if hasattr(script, name):
            setattr(script, name, of_whole_files(getattr(script, name)))


def launched(
    task: type[ClassificationTask],
    teacher: FrozenTeacher,
    settings: dict[str, Any],
    args: Namespace,
) -> type[AttentionLinkTask]:
    """An `AttentionLinkTask` that train.py can build like `task`, which may be multi-label."""

    class LaunchedTask(AttentionLinkTask, task):
        def __init__(self, model: nn.Module, *given: Any, **kwargs: Any) -> None:
            data = resolve_data_config(vars(args), model=model)
            kwargs.update(settings, mean=data["mean"], std=data["std"])
            try:
                super().__init__(model, teacher, *given, **kwargs)
            except ValueError as error:
                raise ValueError(in_options(error)) from error
            if getattr(args, "channels_last", False):
                self.teacher.to(memory_format=torch.channels_last)

    LaunchedTask.__name__ = AttentionLinkTask.__name__
    return LaunchedTask


def of_whole_files(resume: Callable) -> Callable:
    """`resume_task_checkpoint` that first checks its file, also that of --resume auto.

    timm's own function reads no options of a run before torch 2.5.
    """

    @functools.wraps(resume)
    def run(task: Any, checkpoint_path: str, *args: Any, **kwargs: Any) -> Any:
        check_checkpoint(str(checkpoint_path))
        with data_only([Namespace]):
            return resume(task, checkpoint_path, *args, **kwargs)

    return run


def setting_the_epoch(train_one_epoch: Callable) -> Callable:
    """`train_one_epoch`, with λ set for the epoch and with the task's metrics added.

    train.py writes the metrics to summary.csv: λ, L_att, the task loss and the distillation loss.
    """
    signature = inspect.signature(train_one_epoch)

    @functools.wraps(train_one_epoch)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        task = given.get("task")
        if not isinstance(task, AttentionLinkTask):
            raise ValueError(
                f"train.py trains a {type(task).__name__}, so AAL would do nothing; remove the "
                "options that make it train something other than a ClassificationTask"
            )
        _check_trained(task, given.get("optimizer"))
        task.set_epoch(given["epoch"])
        metrics = train_one_epoch(*args, **kwargs)
        task.check_finite()
        if isinstance(metrics, dict):
            metrics.update(task.epoch_metrics())
        return metrics

    return run


def _check_trained(task: AttentionLinkTask, optimizer: Any) -> None:
    trained = {id(p) for group in getattr(optimizer, "param_groups", ()) for p in group["params"]}
    links = unwrap_model(task.get_trainable_module()).links
    if trained and not all(id(parameter) in trained for parameter in links.parameters()):
        raise ValueError(
            "train.py's optimizer does not have the links' parameters; make it from "
            "task.get_trainable_module(), as timm's own train.py does"
        )
