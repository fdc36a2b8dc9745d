"""`StopSignalHook`: saves a checkpoint when a cluster stops the run."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import barrier, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from .safe_checkpoint_hook import INTERRUPTED, SafeCheckpointHook

STATUS = 75  # EX_TEMPFAIL of sysexits.h: run it again
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]


@HOOKS.register_module()
class StopSignalHook(Hook):
    """After SIGTERM or SIGUSR1, saves a checkpoint at the end of the step; exit status 75.

    `--resume` continues from that checkpoint, within the epoch. If only one of several ranks
    receives the signal, the ranks agree through a small all-reduce on the CPU. It starts in one
    step and is read in a later one, so no step waits for the device. A second signal, at least ten
    seconds later, ends the process immediately.

    Args:
        interval: steps between two all-reduces when there are several ranks.
    """

    priority = "VERY_LOW"  # after all other hooks of the step

    def __init__(self, interval: int = 5) -> None:
        if not isinstance(interval, int) or interval < 1:
            raise ValueError(f"StopSignalHook.interval={interval!r}; choose 1 or more")
        self.interval = interval
        self._since: float | None = None
        self._before: dict[int, Any] = {}
        self._group: Any = None
        self._sum: torch.Tensor | None = None
        self._work: Any = None

    def before_train(self, runner: Runner) -> None:
        if get_world_size() > 1 and self._group is None:
            self._group = dist.new_group(backend="gloo")
        try:
            for number in _SIGNALS:
                self._before[number] = signal.signal(number, self._receive)
        except ValueError:  # only the main thread can receive signals
            runner.logger.info(
                "StopSignalHook: training is not in the main thread, so a signal ends the run "
                "without a checkpoint"
            )

    def after_train(self, runner: Runner) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self._work is not None:
            self._work.wait()
            self._work = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
        if (runner.iter + 1) % accumulated == 0 and self._agreed(runner.iter // accumulated):
            self._stop(runner)

    def _receive(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._since > 10:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _agreed(self, step: int) -> bool:
        if self._group is None:
            return self._since is not None
        if step % self.interval:
            return False
        agreed = False
        if self._work is not None and self._sum is not None:
            self._work.wait()
            agreed = bool(self._sum.item())
        self._sum = torch.tensor([int(self._since is not None)])
        self._work = dist.all_reduce(self._sum, group=self._group, async_op=True)
        return agreed

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
            f"continues from it; exit status {STATUS}"
        )
        if self._work is not None:
            self._work.wait()
        barrier()  # a rank that left while rank 0 saves would count as a failure
        raise SystemExit(STATUS)
