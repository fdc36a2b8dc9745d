"""`LambdaDecayHook`: λ of the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from aal_plugin.core import check_schedule, link_weight
from aal_plugin.core.losses.schedule import Gammas
from aal_plugin.core.settings import check_choice
from aal_plugin.mm.models.heads.teacher_head import HEADS


@HOOKS.register_module()
class LambdaDecayHook(Hook):
    """Lowers the weight λ of a loss that the teacher drives every epoch (AAL, section 3.3.2).

    λ depends on the epoch alone, so a resumed run has the λ of an unbroken one. MMEngine's
    iteration-based loop counts no epochs: there an epoch is as many iterations as it takes to see
    every image once.

    In a config it belongs into `default_hooks`, where hooks that the config inherits survive:
    `default_hooks = dict(aal=dict(type='LambdaDecayHook', gammas=0.99))`.

    Args:
        gammas: decay per epoch; gammas[i] holds from milestones[i-1] to milestones[i]. One number
            holds for all epochs.
        milestones: epochs at which the next gamma takes over.
        stop_epoch: λ is 0 from this epoch on, and the loss is not computed any more.
        start_epoch: λ is 0 before this epoch, and the loss is not computed yet. The decay counts
            from epoch 0 all the same.
        head: 'link_head', 'distill_head' or 'transfer_head'; by default the first of link and
            transfer head that the model has.

    Raises:
        ValueError: the epochs and gammas describe no schedule; no such head; a second hook for
            the same head; an iteration-based loop over data of unknown length.
    """

    def __init__(
        self,
        gammas: Gammas,
        milestones: Sequence[int] = (),
        stop_epoch: int | None = None,
        head: str | None = None,
        start_epoch: int = 0,
    ) -> None:
        try:
            check_schedule(gammas, milestones, stop_epoch, start_epoch)
        except ValueError as error:
            raise ValueError(f"LambdaDecayHook: {error}") from None
        if head is not None:
            check_choice("LambdaDecayHook.head", head, HEADS)
        milestones = tuple(milestones) if isinstance(milestones, (list, tuple)) else (milestones,)
        self.schedule = (gammas, milestones, stop_epoch, start_epoch)
        self.names = (head,) if head is not None else ("link_head", "transfer_head")
        self._epoch: int | None = None

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._head = self.head_of(model)
        if self._head is None:
            wanted = self.names[0].replace("_", " ") if len(self.names) > 1 else self.names[0]
            raise ValueError(
                f"LambdaDecayHook needs a {wanted}, and {type(model).__name__} has none; set "
                "model.type='AALClassifier' with link_head=dict(type='AttentionLinkHead') or "
                "another head that a teacher drives, or remove the hook from default_hooks"
            )
        hooks = [hook for hook in runner.hooks if isinstance(hook, LambdaDecayHook)]
        if sum(hook.head_of(model) is self._head for hook in hooks) > 1:
            raise ValueError(
                f"two LambdaDecayHooks set the weight of model.{self._head.key}; remove one from "
                "default_hooks or custom_hooks, or name another head by its key head"
            )
        self._head.scheduled = True
        loop = runner.train_loop
        self._epoch_length = (
            _epoch_length(loop.dataloader) if isinstance(loop, IterBasedTrainLoop) else None
        )
        self._epoch = None

    def head_of(self, model: nn.Module) -> nn.Module | None:
        """The head whose weight this hook sets, or None."""
        return next((getattr(model, name) for name in self.names if hasattr(model, name)), None)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # So that the links can be read from the file alone.
        links = getattr(self._head, "links", None)
        if links is not None:
            checkpoint["meta"]["attention_links"] = dict(ranges=links.ranges, heads=links.heads)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # Each iteration, since loops by iteration have no hook point at an epoch's start.
        epoch = self._epoch_at(runner)
        if epoch != self._epoch:
            self._epoch = epoch
            self._head.set_weight(link_weight(epoch, self._head.loss_weight, *self.schedule))

    def _epoch_at(self, runner: Runner) -> int:
        if self._epoch_length is None:
            return runner.epoch
        images, seen_in_an_iteration = self._epoch_length
        return runner.iter * seen_in_an_iteration // images


def _epoch_length(loader: DataLoader) -> tuple[int, int]:
    """(n, m) of an epoch that is n/m iterations long: fractions, as a sampler without an end has.

    Such a sampler's own length is that of the data set, whatever the number of ranks.
    """
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if isinstance(sampler, InfiniteSampler):
        size = loader.batch_size or loader.batch_sampler.batch_size
        return len(loader.dataset), size * get_world_size()
    try:
        return len(loader), 1
    except TypeError:
        raise ValueError(
            "LambdaDecayHook: an iteration-based loop over "
            f"{type(loader.dataset).__name__}, which has no length, so that epochs cannot be "
            "counted; give the data set a __len__, or train by epochs (train_cfg.by_epoch=True)"
        ) from None
