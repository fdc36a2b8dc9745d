"""`RandomStateHook`: a resumed run draws the same random numbers as an uninterrupted run."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from aal_plugin.mm.checkpoints.random_states import random_state, set_random_state
from aal_plugin.mm.runtime.resumable_loops import ResumableEpochLoop


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Saves the random states of every rank in each checkpoint and restores them on resume.

    These are the states of Python, NumPy, torch and the GPU. Mixup, drop path and dropout draw from
    them; image transforms have random numbers of their own (`ResumableEpochLoop`). Work between
    two training steps, such as a validation or the start of workers, does not change them. A
    checkpoint stores them under `random_states`, beside MMEngine's keys.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._held: dict[str, Any] | None = None
        self._of_all: list[dict[str, Any]] | None = None

    def hold(self, runner: Runner) -> None:
        """Store the random states until the next step. All ranks must call this."""
        if self._held is None:
            self._held = random_state()
            self._of_all = [self._held]
            if get_world_size() > 1:
                self._of_all = all_gather_object(self._held)

    def after_train_epoch(self, runner: Runner) -> None:
        self.hold(runner)

    def before_val(self, runner: Runner) -> None:
        self.hold(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._held is not None:
            set_random_state(self._held)
            self._held = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # A hook of a lab may save within an epoch: then only this rank's state is known.
        states = self._of_all if self._held is not None else [random_state()]
        checkpoint["random_states"] = dict(ranks=states, batches=_batches(runner))
        if isinstance(runner.train_loop, ResumableEpochLoop):
            checkpoint["random_states"]["batches_done"] = runner.train_loop.batches_done

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        saved = checkpoint.get("random_states")
        if saved is None:
            runner.logger.info(
                "the checkpoint has no random states; the random numbers differ from those of an "
                "uninterrupted run"
            )
            return
        if get_rank() < len(saved["ranks"]) and get_world_size() == len(saved["ranks"]):
            self._held = saved["ranks"][get_rank()]
        else:
            _warn(runner, f"{len(saved['ranks'])} ranks, but this run has {get_world_size()}")
        done = saved.get("batches_done", 0)
        if done and saved["batches"] == _batches(runner):
            runner.train_loop.batches_done = done
            runner.logger.info(f"training continues after batch {done} of its epoch")
        elif done:
            _warn(
                runner, f"{saved['batches']} batches an epoch, but this run has {_batches(runner)}"
            )


def _batches(runner: Runner) -> int:
    return len(runner.train_loop.dataloader)


def _warn(runner: Runner, difference: str) -> None:
    runner.logger.log(
        logging.WARNING,
        f"the checkpoint was saved with {difference}; training continues, but with other random "
        "numbers than an uninterrupted run",
    )
