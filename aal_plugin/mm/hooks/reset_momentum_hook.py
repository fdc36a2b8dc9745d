"""`ResetMomentumHook`: a fresh optimizer at each drop of the learning rate."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner


@HOOKS.register_module()
class ResetMomentumHook(Hook):
    """Clears the optimizer's buffers when the lr of the next epoch is lower than this epoch's.

    Attention transfer's code creates a new SGD at each drop (cifar.py and imagenet.py,
    `create_optimizer`), so its momentum starts from zero. Use the hook with schedules of a few
    drops: a schedule that lowers the lr every epoch would lose the momentum every epoch.

    Raises:
        ValueError: the training loop is iteration-based.
    """

    # After the schedulers' step (LOW) and before the checkpoint (VERY_LOW): the checkpoint at the
    # end of an epoch has the next epoch's lr, and must have the next epoch's buffers too.
    priority = 80

    def before_train(self, runner: Runner) -> None:
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(
                "ResetMomentumHook needs a training loop by epochs, but this loop is "
                "iteration-based; set train_cfg.by_epoch=True or remove the hook"
            )

    def before_train_epoch(self, runner: Runner) -> None:
        self._lrs: dict[str, list[float]] = runner.optim_wrapper.get_lr()

    def after_train_epoch(self, runner: Runner) -> None:
        lrs = runner.optim_wrapper.get_lr()
        if any(new < old for key in lrs for new, old in zip(lrs[key], self._lrs[key])):
            runner.optim_wrapper.optimizer.state.clear()
