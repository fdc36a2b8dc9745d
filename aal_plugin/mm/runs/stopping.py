"""`StopSignalHook`: saves a checkpoint when a cluster stops the run."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import signal
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import barrier, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from aal_plugin.process import STOP, STOP_SIGNALS, STOPPED

from .saving import INTERRUPTED, SafeCheckpointHook

_STEPS = 5  # between two times that the ranks ask each other


@HOOKS.register_module()
class StopSignalHook(Hook):
    """After SIGTERM or SIGUSR1, saves a checkpoint at the end of the step; exit status 75.

    `--resume` continues from that checkpoint, within the epoch. If only one of several ranks
    receives the signal, the ranks agree through a small all-reduce on the CPU. It starts in one
    step and is read in a later one, so no step waits for the device. With accumulated gradients
    the run stops after the optimizer's next step. A second signal, at least ten seconds later,
    ends the process immediately.
    """

    priority = "VERY_LOW"  # after all other hooks of the step

    def __init__(self) -> None:
        self._agreed = False
        self._group: Any = None
        self._asked: tuple[Any, torch.Tensor] | None = None  # an all-reduce, and its sum

    def before_train(self, runner: Runner) -> None:
        if get_world_size() > 1 and self._group is None:
            self._group = dist.new_group(backend="gloo")
        try:
            STOP.listen()
            STOP.saves = True
        except ValueError:  # only the main thread can receive signals
            runner.logger.info(
                "StopSignalHook: training is not in the main thread, so a signal ends the run "
                "without a checkpoint"
            )

    def after_train(self, runner: Runner) -> None:
        STOP.saves = False
        self._answer()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self._group is None:
            self._agreed = STOP.asked
        elif runner.iter % _STEPS == 0:
            self._agreed = self._answer() or self._agreed
            total = torch.tensor([int(STOP.asked)])
            self._asked = dist.all_reduce(total, group=self._group, async_op=True), total
        accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
        if self._agreed and (runner.iter + 1) % accumulated == 0:
            self._stop(runner)

    def _answer(self) -> bool:
        """Whether any rank had received a signal when the ranks were last asked."""
        if self._asked is None:
            return False
        work, total = self._asked
        work.wait()
        self._asked = None
        return bool(total.item())

    def _stop(self, runner: Runner) -> None:
        meta = dict(epoch=runner.epoch, iter=runner.iter + 1)
        hook = next((hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)), None)
        if hook is None:
            raise RuntimeError(
                "StopSignalHook needs default_hooks.checkpoint=dict(type='SafeCheckpointHook')"
            )
        hook.save(runner, INTERRUPTED, meta, by_epoch=False)
        runner.logger.info(
            f"stopped by a signal after step {runner.iter + 1}; saved {hook.last_ckpt}; --resume "
            f"continues from it; exit status {STOPPED}"
        )
        self._answer()
        barrier()  # a rank that left while rank 0 saves would count as a failure
        raise SystemExit(STOPPED)


def spare_workers() -> None:
    """Let no signal reach the DataLoader workers that this process starts from now on.

    torchrun, `timeout`, Slurm and Ctrl-C signal all processes of a group. A worker that ends before
    the main process has saved would end the run without a checkpoint.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return
    start = DataLoader.__iter__

    @functools.wraps(start)
    def started(loader: DataLoader) -> Any:
        # Workers are forked here, and inherit the mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [*STOP_SIGNALS, signal.SIGINT])
        try:
            return start(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    DataLoader.__iter__ = started  # type: ignore[method-assign]
    # Python ends its children by SIGTERM, and then waits for them.
    atexit.register(_kill_workers)


def _kill_workers() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would call it a crash
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
