"""`AttentionInPrediction`: puts a student's attention into the predictions of val and test."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.datasets import transforms
from torch import nn

from aal_plugin.analysis.rollout import AttentionRollout
from aal_plugin.core import AttentionRecorder
from aal_plugin.core.student.by_name import AttentionLayers

# They move the image and leave gt_bboxes where they were. Subclasses may know better.
BOX_BLIND = (
    transforms.EfficientNetCenterCrop,
    transforms.EfficientNetRandomCrop,
    transforms.RandomCrop,
    transforms.RandomResizedCrop,
    transforms.ResizeEdge,
)


@HOOKS.register_module()
class AttentionInPrediction(Hook):
    """Lets a metric such as `LocalizationAccuracy` see attention; predictions stay as they are.

    Every data sample gets `attention`, the maps of every block, (M, h, w) each; `attention_size`,
    the (H, W) of the image that they cover; and with `rollout` also `attention_rollout`, (h, w).
    It serves an AALClassifier and a plain ImageClassifier alike, and does nothing in training.

    Args:
        rollout: also follow the attention through all blocks, see
            `aal_plugin.analysis.rollout`.
        attention_layers: as in `AALClassifier`, for an ImageClassifier whose backbone is of no
            known family.

    Raises:
        ValueError: a model or backbone that shows no attention; a pipeline whose boxes do not
            move with the image.
    """

    def __init__(
        self, rollout: bool = False, attention_layers: AttentionLayers | None = None
    ) -> None:
        self.rollout = rollout
        self.attention_layers = attention_layers
        self._watched: Any = None
        self._handles: list[Any] = []

    def before_val_epoch(self, runner: Runner) -> None:
        self._begin(runner, runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Runner) -> None:
        self._begin(runner, runner.test_dataloader.dataset)

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        self._end()

    def after_test_epoch(self, runner: Runner, metrics: Any = None) -> None:
        self._end()

    def _begin(self, runner: Runner, dataset: Any) -> None:
        check_boxes_follow(dataset)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if self._watched is not model:
            self._watch(model)
            self._watched = model
        self._handles = [
            model.register_forward_pre_hook(self._start, with_kwargs=True),
            model.register_forward_hook(self._attach, with_kwargs=True),
        ]

    def _watch(self, model: nn.Module) -> None:
        if not hasattr(model, "backbone"):
            raise ValueError(f"AttentionInPrediction: {type(model).__name__} has no backbone")
        self._recorder = getattr(model, "attention_recorder", None) or AttentionRecorder(
            model.backbone, self.attention_layers
        )
        self._rollout = AttentionRollout(model.backbone) if self.rollout else None

    def _end(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _start(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        inputs = kwargs["inputs"] if "inputs" in kwargs else args[0]
        self._size = tuple(inputs.shape[-2:])
        self._recorder.start(self._size)
        if self._rollout:
            self._rollout.start()

    def _attach(self, model: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        maps = self._recorder.stop()
        rolled = self._rollout.stop(tuple(maps[-1].shape[-2:])) if self._rollout else None
        for index, sample in enumerate(output):
            sample.set_field([block[index] for block in maps], "attention")
            sample.set_field(self._size, "attention_size", field_type="metainfo")
            if rolled is not None:
                sample.set_field(rolled[index], "attention_rollout")


def check_boxes_follow(dataset: Any) -> None:
    """Raise ValueError where boxes are handed on that a transform before left behind."""
    steps = list(getattr(getattr(dataset, "pipeline", None), "transforms", ()))
    if not any("gt_bboxes" in getattr(step, "algorithm_keys", ()) for step in steps):
        return
    for step in steps:
        if type(step) in BOX_BLIND:
            raise ValueError(
                f"pipeline: {type(step).__name__} moves the image but not gt_bboxes; choose "
                "Resize, ResizeEdgeWithBoxes, CenterCrop or RandomFlip, or hand no boxes on"
            )
