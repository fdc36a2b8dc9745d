"""`FiniteLossHook`: ends a training whose loss is no number any more."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, find_latest_checkpoint
from torch import Tensor, nn

from aal_plugin.core.losses.finite import FiniteMarks
from aal_plugin.core.settings import check_whole

_IMAGES = "images that are no numbers"


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops at a loss, or a weight, that is NaN or infinite, before a checkpoint is made of it.

    Each step marks on the device what is not finite; nobody waits for it. The mark is read at the
    logger's interval, and before every checkpoint, where the weights are looked at too. So a
    checkpoint that is there is finite, and the newest of them is the one to go on from.

    Args:
        interval: steps between readings; by default the logger's.

    Raises:
        FloatingPointError: in training; it names losses, weights λ, step and checkpoint.
    """

    priority = "VERY_HIGH"  # before any hook that saves, or makes room for a checkpoint

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
        if any(_saves_now(hook, runner) for hook in runner.hooks):
            self._check(runner, with_weights=True)
        elif self.every_n_train_iters(runner, self._every):
            self._check(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self._check(runner, with_weights=True)

    def before_val(self, runner: Runner) -> None:
        # After which the best checkpoint may be saved.
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
        if names != self._marks.names:  # a loss came or went, at a milestone
            self._check(runner)
            self._marks.forget()
        self._marks.mark({name: outputs[name] for name in names}, runner.iter + 1)

    def _check(self, runner: Runner, with_weights: bool = False) -> None:
        found = self._marks.first_bad()
        if found is not None:
            step, told = found
            # The sum of all losses tells nothing that its parts do not.
            bad = [n for n in _not_finite(told) if n != "loss"] or ["loss"]
            if _IMAGES in bad:  # whatever else is not finite comes of them
                raise FloatingPointError(
                    f"step {step}: {_IMAGES}, NaN or infinite, came out of "
                    "train_dataloader.dataset.pipeline; look at its transforms and at the files"
                )
            weights = [f"{n}={v:g}" for n, v in told.items() if n.endswith("_weight")]
            what = ", ".join([*(f"{name} is {told[name]}" for name in bad), *weights])
            raise FloatingPointError(f"step {step}: {what}. {_advice(runner)}")
        names = _weights_not_finite(runner.model) if with_weights else []
        if names:
            raise FloatingPointError(
                f"step {runner.iter + 1}: the losses are finite, but {len(names)} weights are not, "
                f"{names[0]!r} first. {_advice(runner)}"
            )


def _float_images(batch: Any) -> dict[str, Tensor]:
    """A sum that is not finite where an image is not; whole numbers need no look."""
    images = batch.get("inputs") if isinstance(batch, dict) else None
    images = images if isinstance(images, (list, tuple)) else [images]
    floats = [i for i in images if isinstance(i, Tensor) and i.is_floating_point()]
    return {_IMAGES: sum(image.sum(dtype=torch.float32) for image in floats)} if floats else {}


def _saves_now(hook: Hook, runner: Runner) -> bool:
    """Whether a hook that saves by iteration may do so after this one."""
    if not isinstance(hook, CheckpointHook) or hook.by_epoch:
        return False
    last = hook.save_last and hook.is_last_train_iter(runner)
    return last or hook.every_n_train_iters(runner, hook.interval, hook.save_begin)


def _not_finite(values: dict[str, float]) -> list[str]:
    return [name for name, value in values.items() if not abs(value) < float("inf")]


@torch.no_grad()
def _weights_not_finite(model: nn.Module) -> list[str]:
    """Names of the parameters that hold a NaN or an infinity; the device is read once."""
    named = [(n, p) for n, p in model.named_parameters() if p.numel()]
    if not named:
        return []
    finite = torch.stack([p.isfinite().all().to(named[0][1].device) for _, p in named])
    return [name for (name, _), ok in zip(named, finite.tolist()) if not ok]


def _advice(runner: Runner) -> str:
    last = find_latest_checkpoint(runner.work_dir)
    kept = f"the last checkpoint, {last}, is finite" if last else "no checkpoint was saved before"
    return f"Training ends here; {kept}. Lower the learning rate or the weight of that loss"
