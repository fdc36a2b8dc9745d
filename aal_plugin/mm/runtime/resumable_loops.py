"""MMEngine's training loops, which can also resume within an epoch."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from aal_plugin.mm.checkpoints.random_states import seed_every_image


class _Resumable(BaseLoop):
    """Seeds each image's transforms by (seed, rank, epoch, place); see `seed_every_image`."""

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        *args: Any,
        **options: Any,
    ) -> None:
        loader: Any = dataloader
        if isinstance(dataloader, dict):
            apart = runner._randomness_cfg.get("diff_rank_seed", False)
            loader = runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=apart)
        self._passes = 0
        self.placed = seed_every_image(loader, self._numbers)
        if not self.placed:
            print_log(
                "train_dataloader does not use torch's BatchSampler: after a resume, the random "
                "transforms differ from those of an uninterrupted run",
                logger="current",
                level=logging.WARNING,
            )
        super().__init__(runner, loader, *args, **options)

    def _numbers(self) -> tuple:
        self._passes += 1
        return (self.runner.seed, get_rank(), self._passes - 1)


@LOOPS.register_module()
class ResumableIterLoop(_Resumable, IterBasedTrainLoop):
    """IterBasedTrainLoop whose resumed run sees the same images as an uninterrupted run.

    To resume, MMEngine draws the batches that were trained on and discards them.
    """

    def __init__(self, runner: Runner, *args: Any, **options: Any) -> None:
        self.runner_seed = runner.seed  # the iterator starts before self.runner is set
        super().__init__(runner, *args, **options)
        # The onedl fork advances the sampler only, so the places would be counted from 0 again.
        self.dataloader_iterator.skip_iter = self._advance

    def _advance(self, steps: int) -> None:
        for _ in range(steps):
            next(self.dataloader_iterator)

    def _numbers(self) -> tuple:
        self._passes += 1
        return (self.runner_seed, get_rank(), self._passes - 1)


@LOOPS.register_module()
class ResumableEpochLoop(_Resumable, EpochBasedTrainLoop):
    """EpochBasedTrainLoop that can start within an epoch, after `batches_done` batches."""

    batches_done = 0

    def _numbers(self) -> tuple:
        return (self.runner.seed, get_rank(), self._epoch)

    def run_epoch(self) -> None:
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        done = self.batches_done if self.placed else 0
        if hasattr(self.dataloader.dataset, "set_epoch"):  # RepeatedViews
            self.dataloader.dataset.set_epoch(self._epoch)
        if self.placed:
            self.dataloader.batch_sampler.sampler.left_out = done * self.dataloader.batch_size
        for index, batch in enumerate(self.dataloader, done):
            self.batches_done = index + 1
            self.run_iter(index, batch)
        self.batches_done = 0
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1
