"""`FitCheckHook`: checks that data, checkpoint and model fit together, before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from mmengine.dataset import InfiniteSampler
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils.data import DataLoader

from aal_plugin.core.teacher.weights import nonfinite_name
from aal_plugin.mm.models.heads.teacher_head import HEADS
from aal_plugin.mm.models.normalisation import match_images
from aal_plugin.mm.runs.random_states import named_item

from .bare_model import bare_model

# MMPretrain resizes position embeddings and biases of these names when it loads a checkpoint.
_RESIZED = ("pos_embed", "position", "pos_bias")
_OWN = tuple(f"{head}." for head in HEADS)


@HOOKS.register_module()
class FitCheckHook(Hook):
    """Stops a run whose labels or weights do not fit its model; names images that fail to load.

    It rejects

    - a data set with more classes than the head, or with a label beyond them;
    - a `load_from` checkpoint of another model. In training at least half of the model's weights
      must be in the file, with the same name and shape; in a test all of them;
    - a checkpoint with NaN or infinite weights;
    - ranks with different numbers of batches.

    Raises:
        ValueError: before the first step; names the key and both values.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        match_images(_classifier(runner), runner.cfg)
        self._check("train_dataloader", runner.train_dataloader, runner)
        check_ranks(runner.train_dataloader)

    def before_val(self, runner: Runner) -> None:
        self._check("val_dataloader", runner.val_dataloader, runner)

    def before_test(self, runner: Runner) -> None:
        self._check("test_dataloader", runner.test_dataloader, runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        weights = checkpoint.get("state_dict", checkpoint)
        weights = {k.removeprefix("module."): v for k, v in weights.items() if _is_tensor(v)}
        name = nonfinite_name(weights)
        if name is not None:
            raise ValueError(
                f"load_from={runner._load_from!r} has NaN or infinite weights, the first in "
                f"{name!r}; use an earlier checkpoint"
            )
        if any(isinstance(module, FullyShardedDataParallel) for module in runner.model.modules()):
            return  # FSDP shows the shapes of its shards, not of the weights
        testing = runner._train_loop is None
        check_fit(_classifier(runner), weights, f"load_from={runner._load_from!r}", testing)

    def _check(self, key: str, loader: DataLoader, runner: Runner) -> None:
        dataset: Any = loader.dataset
        check_labels(key, dataset, _classifier(runner))
        if not hasattr(dataset, "__getitems__"):
            dataset.__getitems__ = partial(_named_items, dataset)


def check_fit(
    model: nn.Module, weights: dict[str, Tensor], given: str, all_of_them: bool = False
) -> None:
    """Raise ValueError if a checkpoint belongs to another model.

    Args:
        given: the config key and the file, for the error.
        all_of_them: require all of the student's weights; by default half of them are enough.
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
        "Use the config that the checkpoint was trained with"
    )


def check_labels(key: str, dataset: Any, model: nn.Module) -> None:
    """Raise ValueError if a data set has more classes than the model's head."""
    classes = getattr(getattr(model, "head", None), "num_classes", None)
    if not isinstance(classes, int):
        return
    names = (getattr(dataset, "metainfo", None) or {}).get("classes")
    count, unit = (len(names), "classes") if names is not None else (0, "")
    if names is None and hasattr(dataset, "get_gt_labels"):
        labels = np.asarray(dataset.get_gt_labels())
        count, unit = (int(labels.max()) + 1 if labels.ndim == 1 and labels.size else 0), "labels"
    if count > classes:
        raise ValueError(
            f"{key}.dataset ({type(dataset).__name__}) has {count} {unit}, but "
            f"model.head.num_classes={classes}; set model.head.num_classes={count}"
        )


def check_ranks(loader: DataLoader) -> None:
    """Raise ValueError if ranks have different numbers of batches: training would hang.

    MMEngine's `DefaultSampler(round_up=False)` gives one more image to the first ranks.
    """
    if get_world_size() == 1 or isinstance(getattr(loader, "sampler", None), InfiniteSampler):
        return
    counts = all_gather_object(len(loader))
    if len(set(counts)) > 1:
        raise ValueError(
            f"train_dataloader: the ranks have different numbers of batches, {counts}, so training "
            "would hang; set sampler.round_up=True or drop_last=True"
        )


def _fits(key: str, own: Tensor, given: Tensor | None) -> bool:
    if given is None:
        return False
    return given.shape == own.shape or any(part in key for part in _RESIZED)


def _classifier(runner: Runner) -> nn.Module:
    """The runner's model without wrappers, and without test-time augmentation."""
    model = bare_model(runner.model)
    return bare_model(model.module) if isinstance(model, BaseTTAModel) else model


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _named_items(dataset: Any, indices: Sequence[int]) -> list[Any]:
    return [named_item(dataset, index) for index in indices]
