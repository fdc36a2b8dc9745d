"""`FitCheckHook`: whether data, checkpoint and model belong together, before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from mmengine.dataset import InfiniteSampler
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils.data import DataLoader

from aal_plugin.core.teacher.weights import nonfinite_name
from aal_plugin.mm.checkpoints.random_states import named_item
from aal_plugin.mm.models.heads.teacher_head import HEADS

# What a position embedding or bias is called that MMPretrain resizes while it loads.
_RESIZED = ("pos_embed", "position", "pos_bias")
_OWN = tuple(f"{head}." for head in HEADS)


@HOOKS.register_module()
class FitCheckHook(Hook):
    """Ends a run whose labels or weights its model cannot take, and names images that it cannot.

    - A data set with more classes than the head, or a label beyond them.
    - `load_from` with a checkpoint of another model: fewer than half of the model's weights are in
      it by name and shape; in a test all of them have to be there.
    - A checkpoint with weights that are NaN or infinite.
    - Ranks with different numbers of batches.

    Raises:
        ValueError: before the first step; it names the key and both sides.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        self._look_at("train_dataloader", runner.train_dataloader, runner)
        check_ranks(runner.train_dataloader)

    def before_val(self, runner: Runner) -> None:
        self._look_at("val_dataloader", runner.val_dataloader, runner)

    def before_test(self, runner: Runner) -> None:
        self._look_at("test_dataloader", runner.test_dataloader, runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        weights = checkpoint.get("state_dict", checkpoint)
        weights = {k.removeprefix("module."): v for k, v in weights.items() if _is_tensor(v)}
        name = nonfinite_name(weights)
        if name is not None:
            raise ValueError(
                f"load_from={runner._load_from!r} has weights that are NaN or infinite, the first "
                f"in {name!r}; take an earlier checkpoint"
            )
        if any(isinstance(module, FullyShardedDataParallel) for module in runner.model.modules()):
            return  # the shapes that it shows are those of a shard
        testing = runner._train_loop is None
        check_fit(_bare(runner.model), weights, f"load_from={runner._load_from!r}", testing)

    def _look_at(self, key: str, loader: DataLoader, runner: Runner) -> None:
        check_labels(key, loader.dataset, _bare(runner.model))
        if not hasattr(loader.dataset, "__getitems__"):
            loader.dataset.__getitems__ = partial(_named_items, loader.dataset)


def check_fit(
    model: nn.Module, weights: dict[str, Tensor], given: str, all_of_them: bool = False
) -> None:
    """Raise ValueError where weights are another model's.

    Args:
        given: the key and the file, for the error.
        all_of_them: none of the student's may be missing; else half of them have to be there.
    """
    own = {key: t for key, t in model.state_dict().items() if not key.startswith(_OWN)}
    misfits = [key for key in own if not _fits(key, own[key], weights.get(key))]
    if len(misfits) <= (0 if all_of_them else len(own) // 2):
        return
    first = misfits[0]
    in_file = tuple(weights[first].shape) if first in weights else "missing"
    raise ValueError(
        f"{given} is a checkpoint of another model: {len(misfits)} of {len(own)} weights do not "
        f"fit; {first!r} is {in_file} in the file and {tuple(own[first].shape)} in the model. "
        "Give the config that it was trained with"
    )


def check_labels(key: str, dataset: Any, model: nn.Module) -> None:
    """Raise ValueError where a data set has classes that the model's head has not."""
    classes = getattr(getattr(model, "head", None), "num_classes", None)
    if not isinstance(classes, int):
        return
    names = (getattr(dataset, "metainfo", None) or {}).get("classes")
    count, told = (len(names), "classes") if names is not None else (0, "")
    if names is None and hasattr(dataset, "get_gt_labels"):
        labels = np.asarray(dataset.get_gt_labels())
        count, told = (int(labels.max()) + 1 if labels.ndim == 1 and labels.size else 0), "labels"
    if count > classes:
        raise ValueError(
            f"{key}.dataset ({type(dataset).__name__}) has {count} {told}, and "
            f"model.head.num_classes={classes}; give model.head.num_classes={count}"
        )


def check_ranks(loader: DataLoader) -> None:
    """Raise ValueError where the ranks have different numbers of batches: one would wait for ever.

    MMEngine's `DefaultSampler(round_up=False)` gives the first ranks an image more.
    """
    if get_world_size() == 1 or isinstance(getattr(loader, "sampler", None), InfiniteSampler):
        return
    counts = all_gather_object(len(loader))
    if len(set(counts)) > 1:
        raise ValueError(
            f"train_dataloader: the ranks have {counts} batches, and some would wait for others' "
            "gradients for ever; set sampler.round_up=True or drop_last=True"
        )


def _fits(key: str, own: Tensor, given: Tensor | None) -> bool:
    if given is None:
        return False
    return given.shape == own.shape or any(part in key for part in _RESIZED)


def _bare(model: nn.Module) -> nn.Module:
    wrapped = is_model_wrapper(model) or isinstance(model, BaseTTAModel)
    return _bare(model.module) if wrapped else model


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _named_items(dataset: Any, indices: Sequence[int]) -> list[Any]:
    return [named_item(dataset, index) for index in indices]
