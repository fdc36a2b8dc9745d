"""`RandomStateHook`: a resumed run draws the random numbers of an unbroken one."""

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
    """Saves the random streams of every rank in each checkpoint, and takes them up on a resume.

    They are Python's, NumPy's, torch's and the GPU's, of which mixing, drop path and dropout draw;
    the images' transforms have streams of their own (`ResumableEpochLoop`). What happens between
    two steps of the training, such as a validation or the start of workers, leaves them as they
    were. A checkpoint has them under `random_states`, beside MMEngine's keys.
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._held: dict[str, Any] | None = None
        self._of_all: list[dict[str, Any]] | None = None

    def hold(self, runner: Runner) -> None:
        """Keep the streams until the next step; all ranks call this."""
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
        # Of one rank alone where a hook that is not ours saves within an epoch.
        states = self._of_all if self._held is not None else [random_state()]
        checkpoint["random_states"] = dict(ranks=states, batches=_batches(runner))
        if isinstance(runner.train_loop, ResumableEpochLoop):
            checkpoint["random_states"]["batches_done"] = runner.train_loop.batches_done

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        saved = checkpoint.get("random_states")
        if saved is None:
            runner.logger.info("the checkpoint has no random states; their streams begin anew")
            return
        if get_rank() < len(saved["ranks"]) and get_world_size() == len(saved["ranks"]):
            self._held = saved["ranks"][get_rank()]
        else:
            _warn(runner, f"random states of {len(saved['ranks'])} ranks, not {get_world_size()}")
        done = saved.get("batches_done", 0)
        if done and saved["batches"] == _batches(runner):
            runner.train_loop.batches_done = done
            runner.logger.info(f"the run goes on after batch {done} of its epoch")
        elif done:
            _warn(runner, f"epochs of {saved['batches']} batches, not {_batches(runner)}")


def _batches(runner: Runner) -> int:
    return len(runner.train_loop.dataloader)


def _warn(runner: Runner, what: str) -> None:
    runner.logger.log(
        logging.WARNING,
        f"the checkpoint is of {what}: training goes on, but not with the numbers of that run",
    )
