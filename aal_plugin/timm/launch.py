"""What tools/timm_train.py changes in timm's train.py, within its own process only."""

from __future__ import annotations

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

from .launched_task import LaunchedTask, build_teacher, task_settings
from .options import add_options, check_names, errors_in_options, let_the_first_rank_tell
from .repeated_views import check_views, with_views

_PARTS = ("parser", "main", "train_one_epoch", "ClassificationTask")
_TASKS = ("ClassificationTask", "MultiLabelClassificationTask")
_RESUME = ("resume_task_checkpoint", "load_task_ema_checkpoint")
_FILES = ("resume", "initial_checkpoint", "pretrained_path", "aal_teacher_checkpoint")
# Options of train.py, and what to do instead.
_NOT_WITH_AAL = dict(
    kd_model_name="learn the teacher's logits with --aal-distill",
    naflex_loader="drop it",
    torchscript="drop it",
)


def load_script(path: str) -> Any:
    """Import a train.py as a module.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it lacks parts that AAL needs; the message lists them.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path}: no such file{searched_in(path)}; give the path of timm's train.py"
        )
    name = Path(path).stem
    loader = SourceFileLoader(name, path)  # for a name without .py too
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    # Under its own name, by which a spawned worker looks up its classes.
    sys.modules.setdefault(name, script)
    loader.exec_module(script)
    missing = [part for part in _PARTS if not hasattr(script, part)]
    if missing:
        raise ValueError(
            f"{path}: AAL cannot be added to this script, because it lacks {', '.join(missing)}. "
            "The train.py of timm 1.0.27 and later has all of these"
        )
    return script


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
            check_options(args)
            if args.aal_views is not None or args.aal_kept_maps is not None:
                check_views(args)
                script.create_loader = with_views(create_loader, args)
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
    for name in _RESUME:
        if hasattr(script, name):
            setattr(script, name, of_whole_files(getattr(script, name)))


def check_options(args: Namespace) -> None:
    """Check train.py's own options: what AAL cannot do; files, of which timm's errors say little.

    Raises:
        FileNotFoundError, ValueError: names the option.
    """
    for name, instead in _NOT_WITH_AAL.items():
        if getattr(args, name, None):
            raise ValueError(f"--{name.replace('_', '-')} does not go with AAL; {instead}")
    folder = getattr(args, "data_dir", ".") or getattr(args, "data", None)
    # A --dataset is found by its name, and may be downloaded.
    if not getattr(args, "dataset", None) and not (folder and Path(folder).is_dir()):
        raise FileNotFoundError(
            f"--data-dir {folder!r}: no such folder{searched_in(folder or '')}; give a folder that "
            "holds train and validation, with one folder of images a class"
        )
    for name in _FILES:
        path = getattr(args, name, None)
        # timm finds the file of --resume auto itself, and reads JAX weights from NumPy's files.
        if path and path != "auto" and Path(path).suffix not in (".npz", ".npy"):
            try:
                check_checkpoint(path)
            except (FileNotFoundError, ValueError) as error:
                raise type(error)(f"--{name.replace('_', '-')}: {error}") from error


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
        groups = given["optimizer"].param_groups
        trained = {id(parameter) for group in groups for parameter in group["params"]}
        added = unwrap_model(task.get_trainable_module()).added_parameters()
        if not all(id(parameter) in trained for parameter in added):
            raise ValueError(
                "train.py's optimizer does not have the parameters of links or guidance; make it "
                "from task.get_trainable_module(), as timm 1.0.27's train.py does"
            )
        task.start_epoch(given["epoch"], given.get("loader"))
        metrics = train_one_epoch(*args, **kwargs)
        task.check_finite()
        if isinstance(metrics, dict):
            metrics.update(task.epoch_metrics())
        return metrics

    return run
