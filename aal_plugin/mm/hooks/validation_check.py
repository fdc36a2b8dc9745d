"""Checks what a run watches in its validations, of which MMEngine tells after an epoch."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy
from mmpretrain.structures import DataSample
from torch import nn


def check_validation(runner: Runner, model: nn.Module) -> None:
    """Raise ValueError for a value that a hook needs and nothing measures or can measure."""
    wanted = {}
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            wanted.update({f"save_best={name!r}": name for name in hook.save_best or []})
        elif isinstance(hook, EarlyStoppingHook):
            wanted[f"EarlyStoppingHook.monitor={hook.monitor!r}"] = hook.monitor
    if runner.val_loop is None:
        for given in wanted:
            raise ValueError(
                f"{given} needs validation, and the run has none; set val_dataloader, "
                "val_cfg and val_evaluator, or remove the key"
            )
        return
    found, unknown = {"auto"}, []
    classes = getattr(getattr(model, "head", None), "num_classes", None)
    for metric in runner.val_loop.evaluator.metrics:
        names = metric_names(metric, classes)
        found |= names
        unknown += [] if names else [f"{metric.prefix}/" if metric.prefix else ""]
    for given, name in wanted.items():
        if name not in found and not name.startswith(tuple(unknown)):
            raise ValueError(
                f"{given}: val_evaluator does not measure it; choose one of {sorted(found)}"
            )


def metric_names(metric: Any, classes: int | None) -> set[str]:
    """The names of the values of a metric, from one made-up image; empty if it needs more.

    Raises:
        ValueError: an Accuracy with a topk beyond the number of classes.
    """
    if classes is None:
        return set()
    scores = torch.arange(classes) / max(1, classes)
    sample = DataSample().set_gt_label(0).set_pred_label(0).set_pred_score(scores)
    metric = copy.deepcopy(metric)
    try:
        metric.process(None, [sample.to_dict()])
        names = metric.compute_metrics(metric.results)
    except Exception as error:  # of a lab's own metric too
        if isinstance(metric, Accuracy) and isinstance(error, ValueError):
            raise ValueError(f"val_evaluator (Accuracy): {error}") from error
        return set()
    return {f"{metric.prefix}/{name}" if metric.prefix else name for name in names}
