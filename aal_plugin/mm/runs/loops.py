"""MMEngine's training loops, which can also resume within an epoch or before a validation."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn

from .random_states import seed_every_image


class _Resumable(BaseLoop):
    """Seeds each image's transforms by (seed, rank, epoch, place); see `seed_every_image`."""

    validated_at = 0  # the iteration of the last validation; `ExactResumeHook` keeps it

    def __init__(self, runner: Runner, dataloader: Any, *args: Any, **options: Any) -> None:
        if isinstance(dataloader, dict):
            apart = runner._randomness_cfg.get("diff_rank_seed", False)
            dataloader = runner.build_dataloader(dataloader, runner.seed, apart)
        self._passes = 0
        self._seed = runner.seed  # the loop by iterations draws before self.runner is set
        self.placed = seed_every_image(dataloader, self._numbers)
        if not self.placed:
            print_log(
                "train_dataloader does not use torch's BatchSampler: after a resume, the random "
                "transforms differ from those of an uninterrupted run",
                logger="current",
                level=logging.WARNING,
            )
        super().__init__(runner, dataloader, *args, **options)

    def _numbers(self) -> tuple:
        self._passes += 1
        return (self._seed, get_rank(), self._passes - 1)

    def _validate(self: Any, done: int, last: int) -> None:
        """Validate if MMEngine would after `done` epochs or iterations, unless it was done."""
        self._decide_current_val_interval()
        due = done >= self.val_begin and (done % self.val_interval == 0 or done == last)
        if due and self.validated_at != self._iter and self.runner.val_loop is not None:
            self.runner.val_loop.run()
            self.validated_at = self._iter


@LOOPS.register_module()
class ResumableIterLoop(_Resumable, IterBasedTrainLoop):
    """IterBasedTrainLoop whose resumed run sees the same images as an uninterrupted run.

    To resume, it draws the batches that were trained on and discards them, as MMEngine does. A
    validation that a kill interrupted is done first.
    """

    def run(self) -> nn.Module:
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        for _ in range(self._iter):
            next(self.dataloader_iterator)
        self._validate(self._iter, self._max_iters)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._validate(self._iter, self._max_iters)
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model


@LOOPS.register_module()
class ResumableEpochLoop(_Resumable, EpochBasedTrainLoop):
    """EpochBasedTrainLoop that can start within an epoch, after `batches_done` batches.

    A validation that a kill interrupted is done first.
    """

    batches_done = 0

    def _numbers(self) -> tuple:
        return (self._seed, get_rank(), self._epoch)

    def run(self) -> nn.Module:
        self.runner.call_hook("before_train")
        if not self.batches_done:
            self._validate(self._epoch, self._max_epochs)
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate(self._epoch, self._max_epochs)
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_epoch(self) -> None:
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self.batches_done if self.placed else 0
        if self.placed:
            self.dataloader.batch_sampler.sampler.left_out = done * self.dataloader.batch_size
        for index, batch in enumerate(self.dataloader, done):
            self.batches_done = index + 1
            self.run_iter(index, batch)
        self.batches_done = 0
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1
