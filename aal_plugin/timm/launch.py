"""What tools/timm_train.py changes in timm's train.py, within its own process only."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import sys
from argparse import Namespace
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

import torch
from timm.data import resolve_data_config
from timm.utils import unwrap_model
from torch import nn

from aal_plugin.process import searched_in

from .attention_link_task import AttentionLinkTask
from .from_options import build_teacher, check_options, task_settings
from .options import add_options, check_unknown, in_options


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
    loader = SourceFileLoader(name, path)
    script = importlib.util.module_from_spec(ModuleSpec(name, loader, origin=path))
    script.__file__ = path
    # Under its own name, by which a spawned worker looks up its classes.
    sys.modules.setdefault(name, script)
    loader.exec_module(script)
    return script


def missing_parts(source: str) -> list[str]:
    """The parts that AAL needs and the source of a script lacks, in words."""
    names: set[str] = set()
    parameters: dict[str, set[str]] = {}
    tree = ast.parse(source)
    calls = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.FunctionDef):
            given = node.args
            parameters[node.name] = {
                arg.arg for arg in given.posonlyargs + given.args + given.kwonlyargs
            }
    expected = {
        "a function main()": "main" in parameters,
        "an argparse.ArgumentParser named parser": "parser" in names,
        "ClassificationTask, imported from timm.task": "ClassificationTask" in names,
        "a function train_one_epoch with parameters epoch and task": {"epoch", "task"}
        <= parameters.get("train_one_epoch", set()),
        # Before timm 1.0.27 the optimizer received the model, without the links.
        "task.get_trainable_module(), whose parameters the optimizer gets": "get_trainable_module"
        in calls,
    }
    return [part for part, found in expected.items() if not found]


def put_task_in(script: Any) -> None:
    """Make a loaded train.py parse AAL's options, build AAL's task and set the task's epoch."""
    parser = script.parser
    add_options(parser)
    parse_known_args = parser.parse_known_args  # parse_args calls it too

    def parse(*given: Any, **options: Any) -> tuple[Namespace, list[str]]:
        args, unknown = parse_known_args(*given, **options)
        try:
            check_unknown(unknown)
            check_options(args)
        except ValueError as error:
            parser.error(in_options(error))
        script.ClassificationTask = task_of_options(args)
        return args, unknown

    parser.parse_known_args = parse
    script.train_one_epoch = setting_the_epoch(script.train_one_epoch)


def task_of_options(args: Namespace) -> type:
    """An `AttentionLinkTask` that train.py can build like a `ClassificationTask`."""

    class LaunchedTask(AttentionLinkTask):
        def __init__(self, model: nn.Module, *given: Any, **kwargs: Any) -> None:
            data = resolve_data_config(vars(args), model=model)
            kwargs.update(task_settings(args), mean=data["mean"], std=data["std"])
            try:
                super().__init__(model, build_teacher(args), *given, **kwargs)
            except (FileNotFoundError, ValueError) as error:
                raise type(error)(in_options(error)) from error
            if getattr(args, "channels_last", False):
                self.teacher.to(memory_format=torch.channels_last)

    LaunchedTask.__name__ = AttentionLinkTask.__name__
    return LaunchedTask


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
