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

from timm.utils import unwrap_model

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.data_only import data_only
from aal_plugin.process import searched_in

from .from_options import build_teacher, check_data, check_files, task_settings
from .launched_task import LaunchedTask
from .options import add_options, check_names, errors_in_options, let_the_first_rank_tell
from .repeated_views import check_views, with_views

_TASKS = ("ClassificationTask", "MultiLabelClassificationTask")


def check_script(path: str) -> None:
    """Check that a train.py has the parts that AAL needs, without running it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: parts are missing; the message lists them.
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


def load_script(path: str) -> Any:
    """Import a train.py as a module."""
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
    create_loader = getattr(script, "create_loader", None)

    def parse(*given: Any, **options: Any) -> tuple[Namespace, list[str]]:
        args, unknown = parse_known_args(*given, **options)
        with errors_in_options():
            check_names(args, unknown)
            settings = task_settings(args)
            check_data(args)
            if args.aal_views is not None or args.aal_kept_maps is not None:
                check_views(args)
                script.create_loader = with_views(create_loader, args)
            check_files(args)
            teacher = build_teacher(args)
        for name, task in tasks.items():
            parts = dict(args=args, built_teacher=teacher, settings=settings)
            setattr(script, name, type("AttentionLinkTask", (LaunchedTask, task), parts))
        return args, unknown

    def error(message: str) -> None:
        let_the_first_rank_tell()
        tell(message)

    tell, parser.error = parser.error, error
    parser.parse_known_args = parse
    script.train_one_epoch = setting_the_epoch(script.train_one_epoch)
    for name in ("resume_task_checkpoint", "load_task_ema_checkpoint"):
        if hasattr(script, name):
            setattr(script, name, of_whole_files(getattr(script, name)))


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
        if not isinstance(task, LaunchedTask):
            raise ValueError(
                f"train.py trains a {type(task).__name__}, so AAL would do nothing; remove the "
                "options that make it train something other than a ClassificationTask"
            )
        _check_trained(task, given.get("optimizer"))
        task.start_epoch(given["epoch"], given.get("loader"))
        metrics = train_one_epoch(*args, **kwargs)
        task.check_finite()
        if isinstance(metrics, dict):
            metrics.update(task.epoch_metrics())
        return metrics

    return run


def _check_trained(task: LaunchedTask, optimizer: Any) -> None:
    trained = {id(p) for group in getattr(optimizer, "param_groups", ()) for p in group["params"]}
    added = unwrap_model(task.get_trainable_module()).added_parameters()
    if trained and not all(id(parameter) in trained for parameter in added):
        raise ValueError(
            "train.py's optimizer does not have the parameters of links or guidance; make it from "
            "task.get_trainable_module(), as timm's own train.py does"
        )
