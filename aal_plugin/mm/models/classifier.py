"""`AALClassifier`: ImageClassifier with a teacher, which only training uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from aal_plugin.core import AttentionRecorder, FrozenTeacher, KeptTeacher, Unregistered
from aal_plugin.core.guidance import GuidanceSetting
from aal_plugin.older_releases import plain_attention

from .compatibility import make_checkpoints_nonreentrant, make_drop_rates_compilable
from .heads.guidance_head import GuidanceHead
from .heads.student_logits import is_distilled, predicted
from .heads.teacher_head import (
    ACTIVATIONS,
    HEADS,
    INPUT_GRADIENT,
    TEACHER_GRADIENT,
    TEACHER_LOGITS,
    Step,
    TeacherHead,
)
from .kept_maps import maps_of_views
from .late_teacher import late_teacher

_OF_TEACHER = {ACTIVATIONS, TEACHER_LOGITS, TEACHER_GRADIENT}


@MODELS.register_module()
class AALClassifier(ImageClassifier):
    """Trains a student with losses that a frozen teacher drives: attention links (AAL, Eq. 6),
    distillation, attention transfer, or several of them.

    Predictions, and their cost, are those of ImageClassifier. The parameters are ImageClassifier's
    and those of the heads below; the teacher is in neither parameters nor state dict. The teacher
    runs once per step, and only what the active losses need is recorded.

    Args:
        backbone: for links, a ViT of a family in `aal_plugin.core.student.families`, or with
            `attention_layers` of the link head.
        teacher: a `TimmTeacher`, `MMTeacher` or `ModuleTeacher`; None if no loss needs one.
        link_head, distill_head: an `AttentionLinkHead`, a `DistillHead`.
        transfer_head: an `ActivationTransferHead`, `HintHead` or `GradientTransferHead`.
        guidance: locality guidance: its weight (the published one is 2.5), or a dict of weight,
            blocks, levels and student_layers, see `aal_plugin.core.student_losses.Guidance`.
        images_rgb: whether the student's images are RGB; by default what
            `data_preprocessor.to_rgb` says. If that is False, the setting is required for a
            teacher of RGB images: CIFAR's images are RGB on disk, files loaded by mmcv are BGR.
            An MMTeacher that also has to_rgb=False is assumed to have been trained on the same
            kind of images.
        images_mean, images_std: how the pipeline and `data_preprocessor` together normalise the
            student's images, in pixel values; by default what `data_preprocessor` says. A run whose
            pipeline normalises sets them by itself with a LambdaDecayHook or our launchers. The
            first batch is compared with them.
        neck, head, **kwargs: ImageClassifier's own.

    Raises:
        ValueError: backbone, teacher and heads do not fit together; the error names the key.
    """

    def __init__(
        self,
        backbone: dict,
        teacher: dict | FrozenTeacher | None = None,
        neck: dict | None = None,
        head: dict | None = None,
        link_head: dict | None = None,
        distill_head: dict | None = None,
        transfer_head: dict | None = None,
        guidance: GuidanceSetting | None = None,
        images_rgb: bool | None = None,
        images_mean: Sequence[float] | None = None,
        images_std: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        make_drop_rates_compilable(self)
        self._kept: KeptTeacher | None = None
        self._distilled = self.with_head and is_distilled(self.head)
        # A random stream of their own: with one seed the student starts, sees batches and drops
        # units as it would without a teacher.
        with torch.random.fork_rng(devices=[]):
            guide = None if guidance is None else GuidanceHead(guidance)
            heads = dict(zip(HEADS, (link_head, distill_head, transfer_head, guide)))
            self._add_teacher_and_heads(teacher, heads, images_mean, images_std, images_rgb)
        self._images_given, self._rgb_given = images_mean is not None, images_rgb is not None

    def _add_teacher_and_heads(
        self, teacher: dict | FrozenTeacher | None, given_heads: dict[str, Any], *images: Any
    ) -> None:
        heads: dict[str, Any] = {
            name: given if isinstance(given, nn.Module) else MODELS.build(given)
            for name, given in given_heads.items()
            if given is not None
        }
        if not heads:
            raise ValueError(
                "AALClassifier has no link_head, distill_head, transfer_head or guidance, so its "
                "teacher would have no effect; add link_head=dict(type='AttentionLinkHead'), or "
                "use ImageClassifier"
            )
        of_teacher = _needs_of(heads.values()) & _OF_TEACHER
        if of_teacher and teacher is None:
            raise ValueError(
                f"AALClassifier has no teacher, but its heads need the teacher's "
                f"{', '.join(sorted(of_teacher))}; add teacher=dict(type='TimmTeacher', …)"
            )
        late = None if teacher is None else late_teacher(teacher, self, *images)
        self._teacher = None if late is None else Unregistered(late)
        for name, head in heads.items():
            if not isinstance(head, TeacherHead) or head.key != name:
                raise ValueError(f"{name}: {type(head).__name__} does not belong there")
            head.connect(self)
            self.add_module(name, head)
        if late is not None:
            late.forget()

    def match_images(
        self, mean: Sequence[float], std: Sequence[float], rgb: bool | None = None
    ) -> None:
        """Set how the images are normalised, in pixel values, unless the config says so itself."""
        if self._teacher is not None and not self._images_given:
            late = self._teacher.module
            late.match(mean, std, late.said["rgb"] if self._rgb_given or rgb is None else rgb)

    def expect_kept_maps(self, folder: str) -> None:
        """Build the teacher when a map is missing, if the folder's maps are its own."""
        if self._teacher is not None:
            self._teacher.module.expect(folder)

    @property
    def teacher(self) -> FrozenTeacher | None:
        """The frozen teacher with its weights, or None if no loss needs one."""
        if self._teacher is None:
            return None
        late = self._teacher.module
        return late.built or late.get()

    @property
    def attention_recorder(self) -> AttentionRecorder | None:
        """The recorder of the student's attention, or None without a `link_head`."""
        return self.link_head.recording.recorder if hasattr(self, "link_head") else None

    @property
    def teacher_heads(self) -> Iterator[TeacherHead]:
        """The heads whose losses the teacher drives."""
        return (getattr(self, name) for name in HEADS if hasattr(self, name))

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict:
        """The label's loss and the losses that the teacher drives; inputs (B, 3, H, W)."""
        active = [head for head in self.teacher_heads if head.active]
        needs = _needs_of(active)
        if INPUT_GRADIENT in needs:
            inputs = inputs.detach().requires_grad_()
        step = Step(self, inputs, data_samples)
        if self._teacher is not None:
            late = self._teacher.module
            pixels = late.pixels if late.waits else (late.built or late.get()).images
            pixels.check(inputs)
        # Fused kernels of attention have no second derivative.
        with plain_attention() if INPUT_GRADIENT in needs else nullcontext():
            # The teacher first: its memory is free again before the student's activations,
            # which live until the backward pass, are created.
            if needs & _OF_TEACHER:
                step.activations, step.teacher_logits = self._taught(step, needs)
            try:
                for head in active:
                    head.start(inputs.shape[-2:])
                step.feats = self.extract_feat(inputs)
            except BaseException:
                for head in active:
                    head.discard()
                raise
            losses = self._label_losses(step)
            for head in self.teacher_heads:
                losses.update(head.loss(step) if head.active else head.idle_loss(step))
        return losses

    def _taught(self, step: Step, needs: frozenset[str]) -> tuple[list[Tensor], Tensor | None]:
        """The teacher's maps of every level, (B, C, h, w) each, and its logits (B, K) or None."""
        views = [sample.metainfo.get("view") for sample in step.data_samples]
        logits = bool(needs & {TEACHER_LOGITS, TEACHER_GRADIENT})
        if any(view is not None and view.folder for view in views):
            return maps_of_views(self, step.images, views, logits), None
        assert self.teacher is not None
        return self.teacher(step.images, logits, with_gradient=TEACHER_GRADIENT in needs)

    def _label_losses(self, step: Step) -> dict:
        for head in self.teacher_heads:
            changed = head.label_losses(step)
            if changed is not None:
                return changed
        if self._distilled:  # MMPretrain itself cannot train these heads
            return step.label_losses(predicted(step.student_logits()))
        return dict(self.head.loss(step.feats, step.data_samples))

    def train(self, mode: bool = True) -> AALClassifier:
        super().train(mode)
        make_checkpoints_nonreentrant(self)
        if mode and not (self._teacher is not None and self._teacher.module.waits):
            _ = self.teacher  # built before a step is compiled
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> AALClassifier:
        if self._teacher is not None:
            self._teacher.apply(fn)
        return super()._apply(fn, *args, **kwargs)


def _needs_of(heads: Iterable[TeacherHead]) -> frozenset[str]:
    # No frozenset.union: torch 2.6 cannot compile it.
    return frozenset({need for head in heads for need in head.needs})
