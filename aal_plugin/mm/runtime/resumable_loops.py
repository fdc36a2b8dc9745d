"""MMEngine's training loops, able to go on where a run was, within an epoch too."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from aal_plugin.mm.checkpoints.random_states import seed_every_image


class _Resumable:
    """Every image's transforms draw from (seed, rank, epoch, place): see `seed_every_image`."""

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        *args: Any,
        **options: Any,
    ) -> None:
        if isinstance(dataloader, dict):
            apart = runner._randomness_cfg.get("diff_rank_seed", False)
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=apart)
        self._passes = 0
        self.placed = seed_every_image(dataloader, self._numbers)
        if not self.placed:
            print_log(
                "the train data's batches are not made by torch's BatchSampler: after a resume "
                "the random transforms are not those of an unbroken run",
                logger="current",
                level=logging.WARNING,
            )
        super().__init__(runner, dataloader, *args, **options)

    def _numbers(self) -> tuple:
        self._passes += 1
        return (self.runner.seed, get_rank(), self._passes - 1)


@LOOPS.register_module()
class ResumableIterLoop(_Resumable, IterBasedTrainLoop):
    """IterBasedTrainLoop, whose resumed run sees the images of the unbroken one.

    MMEngine's own draws the batches that were trained on, and drops them.
    """

    def __init__(self, runner: Runner, *args: Any, **options: Any) -> None:
        self.runner_seed = runner.seed  # the loop's iterator begins before it knows its runner
        super().__init__(runner, *args, **options)
        # The onedl fork moves the sampler alone, and every image's place would be counted anew.
        self.dataloader_iterator.skip_iter = self._advance

    def _advance(self, steps: int) -> None:
        for _ in range(steps):
            next(self.dataloader_iterator)

    def _numbers(self) -> tuple:
        self._passes += 1
        return (self.runner_seed, get_rank(), self._passes - 1)


@LOOPS.register_module()
class ResumableEpochLoop(_Resumable, EpochBasedTrainLoop):
    """EpochBasedTrainLoop that can begin within an epoch, after `batches_done` of its batches."""

    batches_done = 0

    def _numbers(self) -> tuple:
        return (self.runner.seed, get_rank(), self._epoch)

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
