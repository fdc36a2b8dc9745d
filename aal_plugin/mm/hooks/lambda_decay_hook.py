"""`LambdaDecayHook`: sets λ, the weight of a teacher's loss, from the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from aal_plugin.core import check_schedule, link_weight, paper_course
from aal_plugin.core.losses.schedule import Gammas, check_final
from aal_plugin.core.settings import check_choice
from aal_plugin.mm.models.heads.teacher_head import HEADS, TeacherHead
from aal_plugin.mm.models.normalisation import match_images

from .bare_model import bare_model, note_links


@HOOKS.register_module()
class LambdaDecayHook(Hook):
    """Sets the weight λ of a loss that uses the teacher, from the epoch (AAL, section 3.3.2).

    Choose one of two ways to lower λ:

    - `final`: the paper's course of 300 epochs, stretched over the epochs of this run, so that
      λ ends at this share of its start. The paper's own value is 0.0178.
    - `gammas`, with `milestones`: the decay per epoch.

    λ depends on the epoch and on the length of the run alone, so a resumed run has the λ of an
    unbroken one. In a loop by iteration, an epoch is the number of iterations in which every image
    is used once.

    Put the hook into `default_hooks`, which keeps the hooks that a config inherits:
    `default_hooks = dict(aal=dict(type='LambdaDecayHook', final=0.02))`.

    Args:
        gammas: decay per epoch. gammas[i] applies from milestones[i-1] to milestones[i]. One
            number applies to all epochs.
        milestones: epochs at which the next gamma starts.
        stop_epoch: λ is 0 from this epoch on, and the loss is no longer computed.
        head: 'link_head', 'distill_head', 'transfer_head' or 'guidance'; by default the first of
            link head, transfer head and guidance that the model has.
        start_epoch: λ is 0 before this epoch, and the loss is not computed. The decay still
            counts from epoch 0.
        warmup_epochs: number of epochs, from `start_epoch` on, in which λ rises linearly.
        final: share of the start that is left of λ when the run ends, in (0, 1].

    Raises:
        ValueError: the settings describe no schedule; the model has no such head; a second hook
            sets the weight of the same head; an iteration-based loop over data of unknown length.
    """

    def __init__(
        self,
        gammas: Gammas | None = None,
        milestones: Sequence[int] = (),
        stop_epoch: int | None = None,
        head: str | None = None,
        start_epoch: int = 0,
        warmup_epochs: int = 0,
        final: float | None = None,
    ) -> None:
        steps = tuple(milestones) if isinstance(milestones, (list, tuple)) else (milestones,)
        if gammas is None and final is None:
            raise ValueError(
                "LambdaDecayHook.gammas is missing, and final=None; set final=0.02 for the paper's "
                "course over the epochs of your run, or gammas to a number in [0, 1], the decay "
                "per epoch (1.0: constant λ)"
            )
        if final is not None and (gammas is not None or steps):
            given = f"milestones={steps!r}" if gammas is None else f"gammas={gammas!r}"
            raise ValueError(
                f"LambdaDecayHook.final={final!r} and {given} exclude each other; remove one. "
                "Where a base config sets gammas, write "
                f"aal=dict(_delete_=True, type='LambdaDecayHook', final={final!r})"
            )
        # What `link_weight` receives after epoch and base. With `final`, gammas and milestones
        # follow in `before_train`, from the length of the run.
        decay = 1.0 if gammas is None else gammas
        self.schedule = (decay, steps, stop_epoch, start_epoch, warmup_epochs)
        try:
            if final is not None:
                check_final(final)
            check_schedule(*self.schedule)
        except ValueError as error:
            # The error starts with the setting's name: LambdaDecayHook.final=2; choose …
            raise ValueError(f"LambdaDecayHook.{error}") from None
        if head is not None:
            check_choice("LambdaDecayHook.head", head, HEADS)
        self.final = final
        self.names = (head,) if head is not None else ("link_head", "transfer_head", "guidance")

    def before_train(self, runner: Runner) -> None:
        model = bare_model(runner.model)
        match_images(model, runner.cfg)
        head = self.head_of(model)
        if head is None:
            missing = "link head" if len(self.names) > 1 else self.names[0]
            raise ValueError(
                f"LambdaDecayHook needs a {missing}, and {type(model).__name__} has none; set "
                "model.type='AALClassifier' with link_head=dict(type='AttentionLinkHead') or "
                "another head that uses the teacher, or remove the hook from default_hooks"
            )
        hooks = [hook for hook in runner.hooks if isinstance(hook, LambdaDecayHook)]
        if sum(hook.head_of(model) is head for hook in hooks) > 1:
            raise ValueError(
                f"two LambdaDecayHooks set the weight of model.{head.key}; remove one from "
                "default_hooks or custom_hooks, or set head in one of them to another head"
            )
        self._head, loop = head, runner.train_loop
        self._length = _epoch_length(loop) if isinstance(loop, IterBasedTrainLoop) else None
        epochs = loop.max_epochs if self._length is None else loop.max_iters / self._length
        start = self.schedule[3]
        if start and start >= epochs:
            raise ValueError(
                f"LambdaDecayHook.start_epoch={start}: λ would stay 0, because the run ends after "
                f"{float(epochs):g} epochs; choose an earlier epoch"
            )
        if self.final is not None:
            self.schedule = (*paper_course(epochs, self.final), *self.schedule[2:])
        self._epoch = self._set_weight(runner)

    def head_of(self, model: nn.Module) -> TeacherHead | None:
        """The head whose weight this hook sets, or None."""
        heads = (getattr(model, name, None) for name in self.names)
        return next((head for head in heads if isinstance(head, TeacherHead)), None)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        # At each iteration: loops by iteration call no hook at the start of an epoch.
        if self._epoch_of(runner) != self._epoch:
            self._epoch = self._set_weight(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        note_links(runner, checkpoint)

    def _epoch_of(self, runner: Runner) -> int:
        return runner.epoch if self._length is None else runner.iter // self._length

    def _set_weight(self, runner: Runner) -> int:
        epoch = self._epoch_of(runner)
        self._head.set_weight(link_weight(epoch, self._head.loss_weight, *self.schedule))
        return epoch


def _epoch_length(loop: IterBasedTrainLoop) -> Fraction:
    """Iterations of an epoch; with an endless sampler it may end between two."""
    loader = loop.dataloader
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if isinstance(sampler, InfiniteSampler):
        # Its own length is that of the data set, whatever the number of ranks. A batch sampler in
        # the config leaves the loader without a batch size.
        size = loader.batch_size or loader.batch_sampler.batch_size
        return Fraction(len(loader.dataset), size * get_world_size())
    try:
        return Fraction(len(loader))
    except TypeError:
        raise ValueError(
            "LambdaDecayHook cannot count epochs: an iteration-based loop over "
            f"{type(loader.dataset).__name__}, which has no length; give the data set a __len__, "
            "or train by epochs (train_cfg.by_epoch=True)"
        ) from None
