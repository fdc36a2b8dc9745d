"""`ResetMomentumHook`: a fresh optimizer at each drop of the learning rate."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner


@HOOKS.register_module()
class ResetMomentumHook(Hook):
    """Empties the optimizer's buffers when the lr of the next epoch is lower than this one's.

    Attention transfer's code makes a new SGD at each drop (cifar.py and imagenet.py,
    `create_optimizer`), so that its momentum starts from nothing. It is for schedules that go
    down in a few drops; one that lowers the lr every epoch would lose the momentum every epoch.

    Raises:
        ValueError: a training loop by iteration.
    """

    # After the schedulers' step (LOW) and before the checkpoint (VERY_LOW): what is saved at the
    # end of an epoch has the lr of the next one, and must have its buffers too.
    priority = 80

    def before_train(self, runner: Runner) -> None:
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(
                "ResetMomentumHook looks at the lr of each epoch, and this loop goes by iteration; "
                "set train_cfg.by_epoch=True or remove the hook"
            )

    def before_train_epoch(self, runner: Runner) -> None:
        self._lrs: dict[str, list[float]] = runner.optim_wrapper.get_lr()

    def after_train_epoch(self, runner: Runner) -> None:
        lrs = runner.optim_wrapper.get_lr()
        if any(new < old for key in lrs for new, old in zip(lrs[key], self._lrs[key])):
            runner.optim_wrapper.optimizer.state.clear()
