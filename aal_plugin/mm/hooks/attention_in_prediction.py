"""`AttentionInPrediction`: adds a student's attention to the predictions of val and test."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.datasets import transforms
from torch import nn

from aal_plugin.analysis.rollout import AttentionRollout
from aal_plugin.core import AttentionRecorder
from aal_plugin.core.student.by_name import AttentionLayers

from .bare_model import bare_model

# These transforms move the image but not gt_bboxes. A subclass may move both, so only these exact
# classes are rejected.
BOX_BLIND = (
    transforms.EfficientNetCenterCrop,
    transforms.EfficientNetRandomCrop,
    transforms.RandomCrop,
    transforms.RandomResizedCrop,
    transforms.ResizeEdge,
)


@HOOKS.register_module()
class AttentionInPrediction(Hook):
    """Adds attention to the data samples for metrics such as `LocalizationAccuracy`.

    Each data sample receives `attention`, a list with the map of every block, (M, h, w);
    `attention_size`, the (H, W) of the image that the maps cover; and with `rollout` also
    `attention_rollout`, (h, w). The predictions do not change. A plain ImageClassifier serves too.

    Args:
        rollout: also follow the attention through all blocks, see
            `aal_plugin.analysis.rollout`.
        attention_layers: as in `AALClassifier`; needed for an ImageClassifier whose backbone
            belongs to no known family.

    Raises:
        ValueError: AAL does not know how to read the backbone's attention; the model has no
            backbone; or a transform of the pipeline moves the image but not its boxes.
    """

    def __init__(
        self, rollout: bool = False, attention_layers: AttentionLayers | None = None
    ) -> None:
        self.rollout = rollout
        self.attention_layers = attention_layers
        self._model: Any = None  # the model that the recorder below belongs to
        self._handles: list[Any] = []

    def before_val_epoch(self, runner: Runner) -> None:
        self._begin(runner, runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Runner) -> None:
        self._begin(runner, runner.test_dataloader.dataset)

    def _begin(self, runner: Runner, dataset: Any) -> None:
        check_boxes_follow(dataset)
        model = bare_model(runner.model)
        if self._model is not model:
            if getattr(model, "backbone", None) is None:
                raise ValueError(
                    f"AttentionInPrediction needs a model with a backbone, but "
                    f"{type(model).__name__} has none; remove the hook"
                )
            recorder: Any = getattr(model, "attention_recorder", None)
            self._recorder = recorder or AttentionRecorder(model.backbone, self.attention_layers)
            self._rollout = AttentionRollout(model.backbone) if self.rollout else None
            self._model = model
        self._handles = [
            model.register_forward_pre_hook(self._start, with_kwargs=True),
            model.register_forward_hook(self._attach, with_kwargs=True),
        ]

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    after_test_epoch = after_val_epoch

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
    """Raise ValueError if a pipeline packs gt_bboxes after a transform that did not move them."""
    steps = list(getattr(getattr(dataset, "pipeline", None), "transforms", ()))
    if not any("gt_bboxes" in getattr(step, "algorithm_keys", ()) for step in steps):
        return
    for step in steps:
        if type(step) in BOX_BLIND:
            raise ValueError(
                f"pipeline: {type(step).__name__} moves the image but not gt_bboxes; use "
                "Resize, CenterCrop or RandomFlip, or remove gt_bboxes from "
                "PackInputs.algorithm_keys"
            )
