"""`AALClassifier`: ImageClassifier with a teacher that is there in training alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.logging import MessageHub, print_log
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aal_plugin.core import AttentionRecorder, FrozenTeacher, Unregistered
from aal_plugin.core.losses.attention_transfer import twice_differentiable_attention
from aal_plugin.core.student.by_name import AttentionLayers
from aal_plugin.core.student.families import image_size_of
from aal_plugin.core.student.feature_recorder import FeatureRecorder
from aal_plugin.mm.models.heads.student_logits import is_distilled, predicted
from aal_plugin.mm.models.heads.teacher_head import (
    ACTIVATIONS,
    ATTENTION,
    FEATURES,
    HEADS,
    INPUT_GRADIENT,
    TEACHER_GRADIENT,
    TEACHER_LOGITS,
    Step,
    TeacherHead,
)


@MODELS.register_module()
class AALClassifier(ImageClassifier):
    """Trains a student with losses that a frozen teacher drives: attention links (AAL, Eq. 6),
    distillation, attention transfer, or several of them.

    Outputs, and the cost of them, are ImageClassifier's; so are the parameters, but for those of
    the heads named below. The teacher is in neither state dict nor parameters. It is run once a
    step, and only what the losses ask for is looked at.

    Args:
        backbone: for links, a ViT of a family in `aal_plugin.core.student.families`, or with
            `attention_layers`.
        teacher: a `TimmTeacher` or `MMTeacher`. None where no loss needs one.
        link_head: an `AttentionLinkHead`.
        distill_head: a `DistillHead`.
        transfer_head: an `ActivationTransferHead`, `HintHead` or `GradientTransferHead`.
        attention_layers: names of the attention modules, for a backbone of no known family; see
            `aal_plugin.core.student.by_name.reader_by_name`.
        student_layers: the modules of the backbone that are the levels of `transfer_head`, by
            their names; by default a CNN's stages or a transformer's blocks.
        images_rgb: whether the student sees RGB images; by default True where
            `data_preprocessor.to_rgb` is. Where that is False it must be given for a teacher of
            RGB images: CIFAR's are RGB as they are read, files that mmcv loads are BGR. An
            MMTeacher with to_rgb=False too is taken to have learned from images like these.
        neck, head, **kwargs: ImageClassifier's own.

    Raises:
        ValueError: backbone, teacher and heads do not fit together; the message names the key.
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
        attention_layers: AttentionLayers | None = None,
        student_layers: Sequence[str] | None = None,
        images_rgb: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        _make_drop_rates_compilable(self)
        # Random numbers of their own: with one seed the student starts, sees batches and drops as
        # it would without a teacher.
        with torch.random.fork_rng(devices=[]):
            self._add_teacher_and_heads(
                teacher,
                dict(zip(HEADS, (link_head, distill_head, transfer_head))),
                attention_layers,
                student_layers,
                images_rgb,
            )

    def _add_teacher_and_heads(
        self,
        teacher: dict | FrozenTeacher | None,
        heads: dict[str, dict | TeacherHead | None],
        attention_layers: AttentionLayers | None,
        student_layers: Sequence[str] | None,
        images_rgb: bool | None,
    ) -> None:
        heads = {
            name: given if isinstance(given, nn.Module) else MODELS.build(given)
            for name, given in heads.items()
            if given is not None
        }
        if not heads:
            raise ValueError(
                "AALClassifier got no link_head, distill_head or transfer_head, so its teacher "
                "would teach nothing; give link_head=dict(type='AttentionLinkHead'), or use "
                "ImageClassifier"
            )
        needs = frozenset().union(*(loss.needs for loss in heads.values()))
        _check_of_use("attention_layers", attention_layers, ATTENTION, needs)
        _check_of_use("student_layers", student_layers, FEATURES, needs)
        self._teacher = Unregistered(
            _built_teacher(teacher, needs, self.data_preprocessor, images_rgb)
        )
        self._recorders: dict[str, AttentionRecorder | FeatureRecorder] = {}
        if ATTENTION in needs:
            self._recorders[ATTENTION] = AttentionRecorder(self.backbone, attention_layers)
        if FEATURES in needs:
            self._recorders[FEATURES] = FeatureRecorder(self.backbone, student_layers)
        for name, loss in heads.items():
            _check_slot(name, loss)
            loss.connect(self)
            self.add_module(name, loss)

    @property
    def teacher(self) -> FrozenTeacher | None:
        return self._teacher.module

    @property
    def attention_recorder(self) -> AttentionRecorder | None:
        """The student's attention recorder, or None where no loss needs them."""
        return self._recorders.get(ATTENTION)

    @property
    def teacher_heads(self) -> Iterator[TeacherHead]:
        return (getattr(self, name) for name in HEADS if hasattr(self, name))

    def student_channels(self) -> list[int]:
        """Channels of the student's levels."""
        size = image_size_of(self.backbone) or (64, 64)
        return self._recorders[FEATURES].channels(self.backbone, size)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict:
        """The losses of the head and of all that the teacher drives; inputs (B, 3, H, W)."""
        active = [loss for loss in self.teacher_heads if loss.active]
        needs = frozenset().union(*(loss.needs for loss in active))
        if INPUT_GRADIENT in needs:
            inputs = inputs.detach().requires_grad_()
        step = Step(self, inputs, data_samples)
        with twice_differentiable_attention() if INPUT_GRADIENT in needs else nullcontext():
            # The teacher first: what it needs for a moment is free again when the student's
            # activations, which live until the backward pass, come to be.
            if needs & {ACTIVATIONS, TEACHER_LOGITS, TEACHER_GRADIENT}:
                step.activations, step.teacher_logits = self.teacher(
                    inputs,
                    with_logits=bool(needs & {TEACHER_LOGITS, TEACHER_GRADIENT}),
                    with_gradient=TEACHER_GRADIENT in needs,
                )
            recorders = {
                need: recorder for need, recorder in self._recorders.items() if need in needs
            }
            try:
                for recorder in recorders.values():
                    recorder.start(inputs.shape[-2:])
                step.feats = self.extract_feat(inputs)
                step.seen = {need: recorder.stop() for need, recorder in recorders.items()}
            except BaseException:
                for recorder in recorders.values():
                    recorder.discard()
                raise
            losses = self._label_loss(step, active)
            for loss in self.teacher_heads:
                losses.update(loss.loss(step) if loss.active else loss.idle_loss())
        return losses

    def train(self, mode: bool = True) -> AALClassifier:
        super().train(mode)
        _refuse_sharded_heads(self)
        _make_checkpoints_nonreentrant(self)
        if mode:
            self._warn_of_constant_weight()
        return self

    def _warn_of_constant_weight(self) -> None:
        """Once a training, when its hooks have begun and none of them lowers λ."""
        head = getattr(self, "link_head", None)
        if head is None or head.scheduled:
            return
        if "loop_stage" not in MessageHub.get_current_instance().runtime_info:
            return  # no runner trains it
        head.scheduled = True  # said once
        print_log(
            f"model.link_head.loss_weight (λ) stays {head.loss_weight:g} in every epoch, for no "
            "LambdaDecayHook lowers it; the paper's is default_hooks=dict(aal=dict("
            "type='LambdaDecayHook', gammas=(0.99, 0.98), milestones=(200,))). For a constant λ "
            "without this warning, set gammas=1.0",
            logger="current",
            level=logging.WARNING,
        )

    def _label_loss(self, step: Step, active: Sequence[TeacherHead]) -> dict:
        for loss in active:
            changed = loss.label_loss(step)
            if changed is not None:
                return changed
        if is_distilled(self.head):  # MMPretrain warns or refuses to train these itself
            return dict(loss=step.label_loss(predicted(step.student_logits())))
        return dict(self.head.loss(step.feats, step.data_samples))

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> AALClassifier:
        if self.teacher is not None:
            self._teacher.apply(fn)
        return super()._apply(fn, *args, **kwargs)


def _built_teacher(
    teacher: dict | FrozenTeacher | None,
    needs: frozenset,
    pixels: nn.Module,
    rgb: bool | None,
) -> FrozenTeacher | None:
    if rgb is not None and not isinstance(rgb, bool):
        raise ValueError(f"model.images_rgb={rgb!r}; choose True, False or None")
    if teacher is None:
        of_teacher = needs & {ACTIVATIONS, TEACHER_LOGITS, TEACHER_GRADIENT}
        if of_teacher:
            raise ValueError(
                f"AALClassifier got no teacher, and its heads need the teacher's "
                f"{', '.join(sorted(of_teacher))}; give teacher=dict(type='TimmTeacher', …)"
            )
        return None
    if not isinstance(teacher, nn.Module):
        teacher = MODELS.build(teacher)
    if rgb is None:
        rgb = getattr(pixels, "to_rgb", True)
        if not rgb and not getattr(teacher, "to_rgb", True):
            rgb = teacher.rgb  # trained on images as this one's are
        elif not rgb and teacher.normalises and teacher.rgb and hasattr(pixels, "mean"):
            raise ValueError(
                "data_preprocessor.to_rgb=False does not tell the teacher whether the images are "
                "RGB: CIFAR's are as they are read, files that mmcv loads are BGR; give "
                "model.images_rgb=True or False"
            )
    mean, std = getattr(pixels, "mean", None), getattr(pixels, "std", None)
    teacher.match_input(*(v if v is None else v.flatten().tolist() for v in (mean, std)), rgb=rgb)
    return teacher


def _check_of_use(key: str, given: Any, need: str, needs: frozenset) -> None:
    if given is not None and need not in needs:
        raise ValueError(f"{key}={given!r} is of no use: no loss looks at the student's {need}")


def _check_slot(name: str, loss: nn.Module) -> None:
    if not isinstance(loss, TeacherHead) or loss.key != name:
        raise ValueError(f"{name}: {type(loss).__name__} does not belong there")


def _refuse_sharded_heads(model: AALClassifier) -> None:
    """Raise ValueError if FSDP wraps a head, or a part of one, by itself.

    FSDP gathers what it wraps for the forward method of that alone; the losses read elsewhere.
    """
    for name, module in model.named_modules():
        kinds = {kind.__name__ for kind in type(module).__mro__}
        if name.startswith(HEADS) and "FullyShardedDataParallel" in kinds:
            raise ValueError(
                f"model_wrapper_cfg.auto_wrap_policy wraps {name!r} by itself, and its "
                "weights could not be read; choose None, or a policy for the backbone's blocks"
            )


def _make_drop_rates_compilable(model: nn.Module) -> None:
    """Make plain numbers of the NumPy ones that MMPretrain's backbones give to their blocks.

    `torch.compile` takes those for tensors and breaks the graph in every block.
    """
    for module in model.modules():
        if isinstance(getattr(module, "drop_prob", None), np.floating):
            module.drop_prob = float(module.drop_prob)


def _make_checkpoints_nonreentrant(model: nn.Module) -> None:
    """Let gradients reach the recorders inside MMEngine's `activation_checkpointing`.

    It wraps forward methods in reentrant checkpoints, whose first pass runs without gradients:
    attention kept from there would teach the links but never the student.
    """
    for module in model.modules():
        forward = vars(module).get("forward")
        scope = getattr(forward, "__globals__", {}).get("__name__")
        if scope == "mmengine.runner.activation_checkpointing":
            module.forward = partial(checkpoint, forward.__wrapped__, use_reentrant=False)
