"""`KeptEMAHook`: saves an average of the weights, but evaluates the raw weights."""

from __future__ import annotations

from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class KeptEMAHook(EMAHook):
    """EMAHook that saves and resumes the average, but evaluates the raw weights.

    DeiT's published code saves an average and reports the accuracy of the raw weights. MMEngine's
    EMAHook evaluates the average instead, and saves it as the checkpoint's `state_dict`. With this
    hook `state_dict` holds the raw weights and `ema_state_dict` the average;
    `tools/export_student.py --ema` exports the average.

    Its arguments are EMAHook's.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        super().before_save_checkpoint(runner, checkpoint)
        checkpoint["meta"]["raw_state_dict"] = True

    # EMAHook exchanges raw and averaged weights in these two methods only.
    def _swap_ema_parameters(self) -> None:
        pass

    def _swap_ema_state_dict(self, checkpoint: dict) -> None:
        pass
