"""`FiniteLossHook`: stops a training whose loss has become NaN or infinite."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook, LoggerHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, find_latest_checkpoint
from torch import Tensor

from aal_plugin.core.losses.finite import FiniteMarks
from aal_plugin.core.teacher.weights import nonfinite_name


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops when a loss or a weight is NaN or infinite, before it is saved in a checkpoint.

    Each step marks non-finite values on the device, without waiting for the result. The hook reads
    the mark at the logger's interval and before every checkpoint; before a checkpoint it also
    checks the weights. So every saved checkpoint is finite, and training can resume from the
    newest one, which SafeCheckpointHook removes only after it saved the next.

    Raises:
        FloatingPointError: during training; names the losses, the weights λ, the step and the last
            checkpoint.
    """

    priority = "VERY_HIGH"  # before any hook that saves a checkpoint or removes an old one

    def __init__(self) -> None:
        self._marks = FiniteMarks()

    def before_train(self, runner: Runner) -> None:
        loggers = (hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook))
        self._every = next(loggers, 10)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> None:
        losses = {
            name: value
            for name, value in (outputs or {}).items()
            if isinstance(value, Tensor) and ("loss" in name or name.endswith("_weight"))
        }
        if list(losses) != self._marks.names:  # at a milestone a loss can start or stop
            self._check(runner)
            self._marks.forget()
        if losses:
            self._marks.mark(losses, runner.iter + 1)
        if self.every_n_train_iters(runner, self._every):
            self._check(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        self._check(runner, with_weights=True)

    def before_val(self, runner: Runner) -> None:
        # The best checkpoint may be saved after the validation.
        self._check(runner, with_weights=True)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._check(runner, with_weights=True)

    def _check(self, runner: Runner, with_weights: bool = False) -> None:
        found = self._marks.first_bad()
        name = nonfinite_name(dict(runner.model.named_parameters())) if with_weights else None
        if found is not None:
            step, values = found
            # The sum of all losses adds nothing to its parts.
            bad = [n for n, v in values.items() if not abs(v) < float("inf") and n != "loss"]
            weights = [f"{n}={v:g}" for n, v in values.items() if n.endswith("_weight")]
            what = ", ".join([*(f"{n} is {values[n]}" for n in bad or ["loss"]), *weights])
        elif name is not None:
            step = runner.iter + 1
            what = "the losses are finite, but weights are NaN or infinite; the first one is "
            what += repr(name)
        else:
            return
        last = find_latest_checkpoint(runner.work_dir)
        saved = f"the last checkpoint, {last}, is finite" if last else "no checkpoint was saved yet"
        raise FloatingPointError(
            f"step {step}: {what}. Training stops; {saved}. Lower the learning rate or the weight "
            "of that loss"
        )
