"""What tools/timm_train.py does to a train.py of timm's, in its own process alone."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from timm.data import resolve_data_config
from timm.utils import unwrap_model
from torch import nn

from .attention_link_task import AttentionLinkTask
from .options import add_options, build_teacher, check_options, in_options, task_settings


def load_script(path: str) -> ModuleType:
    """A train.py as a module, once it is known to have the shape that AAL needs.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another shape; the message says what was looked for. None of it has run then.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of timm's train.py")
    missing = missing_parts(Path(path).read_text(encoding="utf-8"))
    if missing:
        raise ValueError(
            f"{path} is no train.py that AAL can be put into; looked for and did not find: "
            f"{'; '.join(missing)}. The train.py of timm 1.0.27 and later has all of it"
        )
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, path)
    script = importlib.util.module_from_spec(spec)
    # Under its own name, as workers that are started anew look their classes up.
    sys.modules.setdefault(name, script)
    spec.loader.exec_module(script)
    return script


def missing_parts(source: str) -> list[str]:
    """What of the expected shape the source of a script lacks, in words."""
    names, parameters = set(), {}
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
        # Before 1.0.27 the optimizer was given the model, and would leave the links as they are.
        "task.get_trainable_module(), whose parameters the optimizer gets": "get_trainable_module"
        in calls,
    }
    return [part for part, found in expected.items() if not found]


def put_task_in(script: ModuleType) -> None:
    """Let a loaded train.py parse AAL's options, build our task, and tell it every epoch."""
    parser = script.parser
    add_options(parser)
    parse_known_args = parser.parse_known_args  # which parse_args calls, too

    def parse(*given: Any, **options: Any) -> tuple[Namespace, list[str]]:
        args, unknown = parse_known_args(*given, **options)
        try:
            check_options(args)
        except ValueError as error:
            parser.error(in_options(error))
        script.ClassificationTask = task_of_options(args)
        return args, unknown

    parser.parse_known_args = parse
    script.train_one_epoch = telling_the_epoch(script.train_one_epoch)


def task_of_options(args: Namespace) -> type:
    """`AttentionLinkTask` as train.py builds a `ClassificationTask`, with the options' settings."""

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


def telling_the_epoch(train_one_epoch: Callable) -> Callable:
    """`train_one_epoch`, with λ set for its epoch, and λ and L_att among its metrics."""
    signature = inspect.signature(train_one_epoch)

    @functools.wraps(train_one_epoch)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        task = given.get("task")
        if not isinstance(task, AttentionLinkTask):
            raise ValueError(
                f"train.py trains a {type(task).__name__}, so AAL would do nothing; choose the "
                "options with which it builds a ClassificationTask"
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
            "train.py's optimizer does not have the links' parameters; it must be made from "
            "task.get_trainable_module(), as timm's own is"
        )
