"""`TeacherAccuracyHook`: the teacher's top-1 accuracy at validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .bare_model import bare_model


@HOOKS.register_module()
class TeacherAccuracyHook(Hook):
    """Logs the teacher's top-1 on the validation set as `accuracy/teacher_top1` (%).

    Wrong preprocessing or wrong classes of the teacher show up immediately. The teacher does not
    change, so the hook runs it in the first validation only and logs the same value in the others.

    Raises:
        ValueError: the model has no teacher.
    """

    priority = "ABOVE_NORMAL"  # before the logger

    def __init__(self) -> None:
        self._top1: float | None = None
        self._right = self._seen = 0

    def before_train(self, runner: Runner) -> None:
        self.before_val(runner)

    def before_val(self, runner: Runner) -> None:
        model = bare_model(runner.model)
        if getattr(model, "teacher", None) is None:
            raise ValueError(
                f"TeacherAccuracyHook needs a model with a teacher, but {type(model).__name__} has "
                "none; set model.teacher, or remove the hook"
            )

    @torch.no_grad()
    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        if self._top1 is not None:
            return
        model = bare_model(runner.model)
        data = model.data_preprocessor(data_batch, training=False)
        _, logits = model.teacher(data["inputs"], with_logits=True)
        labels = torch.cat([sample.gt_label for sample in data["data_samples"]])
        self._right += int((logits.argmax(dim=1) == labels.to(logits.device)).sum())
        self._seen += len(labels)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._top1 is None:
            counts = torch.tensor([self._right, self._seen])
            all_reduce(counts)
            self._top1 = 100.0 * counts[0].item() / max(1, counts[1].item())
        runner.message_hub.update_scalar("val/accuracy/teacher_top1", self._top1)
