"""`FiniteLossHook`: stops a training whose loss has become NaN or infinite."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, find_latest_checkpoint
from torch import Tensor

from aal_plugin.core.losses.finite import FiniteMarks
from aal_plugin.core.settings import check_whole
from aal_plugin.core.teacher.weights import nonfinite_name

_IMAGES = "images with NaN or infinite values"


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops when a loss or a weight is NaN or infinite, before it is saved in a checkpoint.

    Each step marks non-finite values on the device, without waiting for the result. The hook reads
    the mark at the logger's interval and before every checkpoint; before a checkpoint it also
    checks the weights. So every saved checkpoint is finite, and training can resume from the
    newest one, which SafeCheckpointHook removes only after it saved the next.

    Args:
        interval: steps between two readings; by default the logger's interval.

    Raises:
        FloatingPointError: during training; names the losses, the weights λ, the step and the last
            checkpoint.
    """

    priority = "VERY_HIGH"  # before any hook that saves a checkpoint or removes an old one

    def __init__(self, interval: int | None = None) -> None:
        if interval is not None:
            check_whole("FiniteLossHook.interval", interval, 1)
        self.interval = interval
        self._marks = FiniteMarks()

    def before_train(self, runner: Runner) -> None:
        loggers = (hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook))
        self._every = self.interval or next(loggers, 10)
        self._marks = FiniteMarks()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> None:
        self._mark(runner, {**_float_images(data_batch), **(outputs or {})})
        if self.every_n_train_iters(runner, self._every):
            self._check(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self._check(runner, with_weights=True)

    def before_val(self, runner: Runner) -> None:
        # The best checkpoint may be saved after the validation.
        self._check(runner, with_weights=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._check(runner, with_weights=True)

    def _mark(self, runner: Runner, outputs: dict[str, Tensor]) -> None:
        names = [
            name
            for name, value in outputs.items()
            if isinstance(value, Tensor)
            and ("loss" in name or name.endswith("_weight") or name == _IMAGES)
        ]
        if not names:
            return
        if names != self._marks.names:  # at a milestone a loss can start or stop
            self._check(runner)
            self._marks.forget()
        self._marks.mark({name: outputs[name] for name in names}, runner.iter + 1)

    def _check(self, runner: Runner, with_weights: bool = False) -> None:
        found = self._marks.first_bad()
        if found is not None:
            step, values = found
            # The sum of all losses adds nothing to its parts.
            bad = [n for n in _not_finite(values) if n != "loss"] or ["loss"]
            if _IMAGES in bad:  # they cause all other non-finite values
                raise FloatingPointError(
                    f"step {step}: train_dataloader.dataset.pipeline returned {_IMAGES}; check its "
                    "transforms and the image files"
                )
            weights = [f"{n}={v:g}" for n, v in values.items() if n.endswith("_weight")]
            what = ", ".join([*(f"{name} is {values[name]}" for name in bad), *weights])
            raise FloatingPointError(f"step {step}: {what}. {_advice(runner)}")
        name = nonfinite_name(dict(runner.model.named_parameters())) if with_weights else None
        if name is not None:
            raise FloatingPointError(
                f"step {runner.iter + 1}: the losses are finite, but weights are NaN or infinite; "
                f"the first one is {name!r}. {_advice(runner)}"
            )


def _float_images(batch: Any) -> dict[str, Tensor]:
    """The sum of a batch's images, non-finite if any pixel is. Integer images need no check."""
    images = batch.get("inputs") if isinstance(batch, dict) else None
    images = images if isinstance(images, (list, tuple)) else [images]
    sums = [
        image.sum(dtype=torch.float32)
        for image in images
        if isinstance(image, Tensor) and image.is_floating_point()
    ]
    return {_IMAGES: torch.stack(sums).sum()} if sums else {}


def _not_finite(values: dict[str, float]) -> list[str]:
    return [name for name, value in values.items() if not abs(value) < float("inf")]


def _advice(runner: Runner) -> str:
    last = find_latest_checkpoint(runner.work_dir)
    saved = f"the last checkpoint, {last}, is finite" if last else "no checkpoint was saved yet"
    return f"Training stops; {saved}. Lower the learning rate or the weight of that loss"
