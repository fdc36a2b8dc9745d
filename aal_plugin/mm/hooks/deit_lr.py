"""`DeiTLR`: the learning rates of DeiT's published code."""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class DeiTLR(LRSchedulerMixin, _ParamScheduler):
    """A linear warm-up, then a cosine; one lr per epoch, as in DeiT's main.py.

    DeiT steps the scheduler with the number of the finished epoch. So, with s = max(e - 1, 0) for
    epoch e = 0, 1, …, E - 1:

        s < W:   lr_s = warmup_lr + s · (lr - warmup_lr) / W
        s >= W:  lr_s = min_lr + (lr - min_lr) · (1 + cos(π · s / E)) / 2

    The first two epochs have warmup_lr, and the cosine starts at s = W, below its maximum.
    MMEngine's LinearLR and CosineAnnealingLR cannot express this, because each multiplies the
    result of the other.

    Args:
        warmup_epochs: W; DeiT uses 5.
        warmup_lr, min_lr: absolute values; they do not change when lr is scaled.
        end: E; by default all epochs of the run.
    """

    def __init__(
        self,
        optimizer: Any,
        warmup_epochs: int = 5,
        warmup_lr: float = 1e-6,
        min_lr: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        self.warmup_epochs = warmup_epochs
        self.warmup_lr = warmup_lr
        self.min_lr = min_lr
        super().__init__(optimizer, **kwargs)

    def _get_value(self) -> list[float]:
        step = max(self.last_step - 1, 0)
        if step < self.warmup_epochs:
            share = step / self.warmup_epochs
            return [self.warmup_lr + share * (lr - self.warmup_lr) for lr in self.base_values]
        share = (1 + math.cos(math.pi * step / (self.end - self.begin))) / 2
        return [self.min_lr + share * (lr - self.min_lr) for lr in self.base_values]
