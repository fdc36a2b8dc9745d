"""`KeptEMAHook`: an average of the weights that is kept beside them, and not measured."""

from __future__ import annotations

from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class KeptEMAHook(EMAHook):
    """EMAHook whose average is saved and resumed, while the raw weights are measured.

    DeiT's published code keeps an average and reports the accuracy of the raw weights. EMAHook
    measures the average instead, and saves it as the checkpoint's `state_dict`. Here `state_dict`
    holds the raw weights and `ema_state_dict` the average; `tools/export_student.py --ema` takes
    the latter.

    Args: EMAHook's.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        super().before_save_checkpoint(runner, checkpoint)
        checkpoint["meta"]["raw_state_dict"] = True

    # All of EMAHook's exchanges go through these two.
    def _swap_ema_parameters(self) -> None:
        pass

    def _swap_ema_state_dict(self, checkpoint: dict) -> None:
        pass
