"""`LambdaDecayHook`: λ of the epoch."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ..core import check_schedule, link_weight


@HOOKS.register_module()
class LambdaDecayHook(Hook):
    """Lowers the weight λ of a loss that the teacher drives every epoch (AAL, section 3.3.2).

    λ depends on the epoch alone, so a resumed run has the λ of an unbroken one.

    Args:
        gammas: decay per epoch; gammas[i] holds from milestones[i-1] to milestones[i].
        milestones: epochs at which the next gamma takes over.
        stop_epoch: λ is 0 from this epoch on, and the loss is not computed any more.
        start_epoch: λ is 0 before this epoch, and the loss is not computed yet. The decay counts
            from epoch 0 all the same.
        head: 'link_head', 'distill_head' or 'transfer_head'; by default the first of link and
            transfer head that the model has.

    Raises:
        ValueError: the epochs and gammas describe no schedule; no such head.
    """

    def __init__(
        self,
        gammas: Sequence[float],
        milestones: Sequence[int] = (),
        stop_epoch: Optional[int] = None,
        head: Optional[str] = None,
        start_epoch: int = 0,
    ) -> None:
        try:
            check_schedule(gammas, milestones, stop_epoch, start_epoch)
        except ValueError as error:
            raise ValueError(f"LambdaDecayHook: {error}") from None
        self.gammas = tuple(gammas)
        self.milestones = tuple(milestones)
        self.stop_epoch = stop_epoch
        self.start_epoch = start_epoch
        self.names = (head,) if head is not None else ("link_head", "transfer_head")
        self._epoch: Optional[int] = None

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._head = next((getattr(model, n) for n in self.names if hasattr(model, n)), None)
        if self._head is None:
            wanted = self.names[0].replace("_", " ") if len(self.names) > 1 else self.names[0]
            raise ValueError(
                f"LambdaDecayHook needs a {wanted}, and {type(model).__name__} has none; set "
                "model.type='AALClassifier' with link_head=dict(type='AttentionLinkHead') or "
                "another head that a teacher drives, or remove the hook from custom_hooks"
            )
        self._epoch = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # So that the links can be read from the file alone.
        links = getattr(self._head, "links", None)
        if links is not None:
            checkpoint["meta"]["attention_links"] = dict(ranges=links.ranges, heads=links.heads)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # Each iteration, since loops by iteration have no hook point at an epoch's start.
        if runner.epoch != self._epoch:
            self._epoch = runner.epoch
            self._head.set_weight(
                link_weight(
                    self._epoch,
                    self._head.loss_weight,
                    self.gammas,
                    self.milestones,
                    self.stop_epoch,
                    self.start_epoch,
                )
            )
