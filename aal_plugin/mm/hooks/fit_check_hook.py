"""`FitCheckHook`: checks that data, checkpoint and model fit together, before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from aal_plugin.core.teacher.weights import nonfinite_name
from aal_plugin.mm.datasets.labels import labels_of
from aal_plugin.mm.evaluation.trained_weights import misfits
from aal_plugin.mm.models.heads.teacher_head import HEADS
from aal_plugin.mm.models.normalisation import match_images
from aal_plugin.mm.runs.fit import is_sharded
from aal_plugin.mm.runs.random_states import named_item

from .bare_model import bare_model
from .validation_check import check_validation

# MMPretrain resizes position embeddings and biases of these names when it loads a checkpoint.
_RESIZED = ("pos_embed", "position", "pos_bias")
_OWN = tuple(f"{head}." for head in HEADS)
_NOT_A_CLASS = -100  # torch's cross-entropy ignores this label


@HOOKS.register_module()
class FitCheckHook(Hook):
    """Stops a run whose labels or weights do not fit its model; names images that fail to load.

    It rejects more classes or other labels than the head has, a `load_from` checkpoint of another
    model or with NaN, loaders without a batch, ranks with different numbers of batches, and values
    to watch that validation does not measure.

    Raises:
        ValueError: before the first step; names the key and both values.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._checked: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        match_images(_classifier(runner), runner.cfg)
        self._check("train_dataloader", runner.train_dataloader, runner)
        check_ranks(runner.train_dataloader)
        if runner.val_loop is not None:
            self._check("val_dataloader", runner.val_dataloader, runner)
        check_validation(runner, _classifier(runner))

    def before_val(self, runner: Runner) -> None:
        self._check("val_dataloader", runner.val_dataloader, runner)

    def before_test(self, runner: Runner) -> None:
        self._check("test_dataloader", runner.test_dataloader, runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        weights = checkpoint.get("state_dict", checkpoint)
        weights = {
            k.removeprefix("module."): v for k, v in weights.items() if isinstance(v, Tensor)
        }
        name = nonfinite_name(weights)
        if name is not None:
            raise ValueError(
                f"load_from={runner._load_from!r} has NaN or infinite weights, the first in "
                f"{name!r}; use an earlier checkpoint"
            )
        if not is_sharded(runner):
            testing = runner._train_loop is None
            check_fit(_classifier(runner), weights, f"load_from={runner._load_from!r}", testing)

    def _check(self, key: str, loader: Any, runner: Runner) -> None:
        if key in self._checked:  # validation starts after every epoch
            return
        self._checked.add(key)
        dataset = loader.dataset
        endless = isinstance(getattr(loader, "sampler", None), InfiniteSampler)
        if not endless and hasattr(dataset, "__len__") and len(loader) == 0:
            raise ValueError(
                f"{key} has no batch: batch_size={loader.batch_size} with "
                f"drop_last={loader.drop_last}, and {type(dataset).__name__} has {len(dataset)} "
                f"images for {get_world_size()} ranks; choose a batch_size of "
                f"{len(dataset) // get_world_size()} or less"
            )
        check_labels(key, dataset, _classifier(runner))
        if not hasattr(dataset, "__getitems__"):  # torch's fetcher calls it if it exists
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
    found = misfits(
        own,
        {
            key: own[key] if any(part in key for part in _RESIZED) else weights[key]
            for key in own
            if key in weights
        },
    )
    if len(found) > (0 if all_of_them else len(own) // 2):
        raise ValueError(
            f"{given} is a checkpoint of another model: {len(found)} of {len(own)} weights do not "
            f"fit; {found[0]}. Use the config that the checkpoint was trained with"
        )


def check_labels(key: str, dataset: Any, model: nn.Module) -> None:
    """Raise ValueError if a data set has more classes than the model's head, or other labels.

    Labels are read if they come from an annotation file; those of folders are numbered.
    """
    classes = getattr(getattr(model, "head", None), "num_classes", None)
    if not isinstance(classes, int):
        return
    name = f"{key}.dataset ({type(dataset).__name__})"
    names = (getattr(dataset, "metainfo", None) or {}).get("classes") or ()
    if len(names) > classes:
        raise ValueError(
            f"{name} has {len(names)} classes, but model.head.num_classes={classes}; set "
            f"model.head.num_classes={len(names)}"
        )
    if not hasattr(dataset, "get_data_info") or (names and not _annotated(dataset)):
        return
    for index in range(len(dataset)):
        for label in labels_of(dataset.get_data_info(index)) or ():
            if label >= classes or (label < 0 and label != _NOT_A_CLASS):
                raise ValueError(
                    f"{name} has the label {label} (image number {index}), but "
                    f"model.head.num_classes={classes} allows labels from 0 to {classes - 1}; "
                    "correct the labels, or set model.head.num_classes"
                )


def check_ranks(loader: Any) -> None:
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


def _annotated(dataset: Any) -> bool:
    """Whether labels come from an annotation file, in a wrapper too."""
    one = getattr(dataset, "dataset", None)
    inside = getattr(dataset, "datasets", None) or ([] if one is None else [one])
    return bool(getattr(dataset, "ann_file", None)) or any(map(_annotated, inside))


def _classifier(runner: Runner) -> nn.Module:
    """The runner's model without wrappers, and without test-time augmentation."""
    model = bare_model(runner.model)
    return bare_model(model.module) if isinstance(model, BaseTTAModel) else model


def _named_items(dataset: Any, indices: Sequence[int]) -> list[Any]:
    return [named_item(dataset, index) for index in indices]
