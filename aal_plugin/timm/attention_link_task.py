"""`AttentionLinkTask`: AAL as a task of timm's trainer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from timm.utils import unwrap_model
from torch import Tensor, nn

from aal_plugin.core import (
    FrozenTeacher,
    KeptTeacher,
    Unregistered,
    check_schedule,
    link_weight,
)
from aal_plugin.core.guidance import GuidanceSetting
from aal_plugin.core.kept_views import kept_teacher
from aal_plugin.core.losses.link_ranges import Links
from aal_plugin.core.losses.schedule import Gammas
from aal_plugin.core.settings import check_number
from aal_plugin.core.student.by_name import AttentionLayers

from .channel_means import one_per_channel
from .distillation import Distillation
from .epoch_losses import EpochLosses
from .linked_student import TimmLinkedStudent
from .linked_task import LinkedTask

_logger = logging.getLogger(__name__)


class AttentionLinkTask(LinkedTask):
    """Trains a ViT with attention links to a frozen CNN (AAL, Eq. 6) in timm's trainer.

    The trainable module is a `TimmLinkedStudent`; the teacher is in no state dict, no optimizer and
    no EMA copy. A checkpoint's `state_dict` is the plain student's, and `task_state` holds the
    links. Call `set_epoch` in every epoch: λ depends on it.

    Args:
        model: the student, a ViT of a family in `aal_plugin.core.student.families`.
        teacher: a `TimmTeacher` or another `FrozenTeacher`.
        criterion, **task_kwargs: `ClassificationTask`'s own.
        links, map_size, antialias, attention_layers, guidance: see `LinkedStudent`; `links=None`
            is guidance alone.
        loss_weight: λ of epoch 0.
        gammas, milestones, stop_epoch, start_epoch, warmup_epochs: the course of λ, see
            `link_weight`; `paper_course` gives gammas and milestones for any number of epochs.
        mean, std: normalisation of the images, for pixel values 0–1; by default that of the
            student's `pretrained_cfg`.
        distill: a second loss, on the teacher's logits.

    Raises:
        ValueError: a setting is out of range; student and teacher do not fit together.
    """

    def __init__(
        self,
        model: nn.Module,
        teacher: FrozenTeacher,
        criterion: nn.Module | Callable | None = None,
        *,
        links: Links | None = "full",
        loss_weight: float = 2000.0,
        gammas: Gammas = (0.99, 0.98),
        milestones: Sequence[int] = (200,),
        stop_epoch: int | None = None,
        start_epoch: int = 0,
        warmup_epochs: int = 0,
        map_size: int | tuple[int, int] | None = None,
        antialias: bool = False,
        attention_layers: AttentionLayers | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        distill: Distillation | None = None,
        guidance: GuidanceSetting | None = None,
        **task_kwargs: Any,
    ) -> None:
        super().__init__(model, criterion, **task_kwargs)
        check_number("loss_weight", loss_weight, "a finite number, 0 or more", low=0)
        check_schedule(gammas, milestones, stop_epoch, start_epoch, warmup_epochs)
        self.loss_weight = float(loss_weight)
        self._schedule = (gammas, milestones, stop_epoch, start_epoch, warmup_epochs)
        self.distill = distill
        self.kept: KeptTeacher | None = None
        self._many_labels = getattr(self, "multi_label", False)  # timm before 1.0.30 has one label
        if distill is not None:
            distill.check(model, teacher, self._many_labels)
        if callable(select := getattr(model, "set_distilled_training", None)):
            select(distill is not None and distill.token)

        linked = TimmLinkedStudent(
            model, teacher.channels, links, map_size, antialias, attention_layers, guidance
        )
        # What is added stays in float32, also next to a student in bfloat16.
        weights = next(model.parameters())
        for part in linked.parts.values():
            part.to(weights.device)
        data = getattr(model, "pretrained_cfg", {})
        mean, std = mean or data.get("mean"), std or data.get("std")
        if mean is not None and std is not None:
            mean, std = one_per_channel(mean, model), one_per_channel(std, model)
            pixels = [255 * v for v in mean], [255 * v for v in std]
            teacher.match_input(*pixels, rgb=True, advice="check --mean and --std")
        self._teacher = Unregistered(teacher.to(device=weights.device, dtype=weights.dtype))
        self._linked = linked.link_loss is not None
        self._guided = linked.guidance is not None and linked.guidance.weight > 0
        self.trainable_module = linked
        self.set_epoch(0)
        if self.verbose:
            count = sum(parameter.numel() for parameter in linked.added_parameters())
            _logger.info(
                f"{type(self).__name__}: {count:,} parameters of {' and '.join(linked.parts)} to "
                f"{sum(teacher.channels)} teacher channels, λ={self.link_weight:g}"
            )

    def keep_maps(
        self, folder: str, views: int, shown: Mapping[str, Any], image_size: tuple[int, int, int]
    ) -> None:
        """Keep the teacher's maps in a folder; `forward` then needs the view of each image.

        Args:
            folder, views, shown: see `aal_plugin.core.kept_views.kept_teacher`.
            image_size: (C, H, W) of the student's images.

        Raises:
            ValueError: distillation needs the teacher's logits; the folder holds other maps.
            OSError: the disk has too little room, or the folder is read-only.
        """
        if self.distill is not None:
            raise ValueError(
                f"kept_maps={folder!r} keeps the teacher's maps alone, but "
                f"distill.kind={self.distill.kind!r} needs its logits; drop one of the two"
            )
        linked, teacher = unwrap_model(self.trainable_module), unwrap_model(self.teacher)
        image = next(linked.student.parameters()).new_zeros(1, *image_size)
        self.kept = kept_teacher(linked, teacher, image, folder, views, shown)
        self.kept.teacher = self.teacher  # perhaps compiled
        if self.verbose:
            size = self.kept.kept.size / 1e9
            _logger.info(f"kept maps: {views} views in {folder}, {size:.2f} GB in all")

    def set_epoch(self, epoch: int) -> None:
        """Set λ for the steps of this epoch (0-based), resumed or not."""
        # A Python number, multiplied outside the compiled module: a new λ does not recompile it,
        # and no step waits for the device to test whether λ is 0.
        scheduled = link_weight(epoch, self.loss_weight, *self._schedule)
        self.link_weight = scheduled if self._linked else 0.0
        self._losses = EpochLosses()

    def epoch_metrics(self) -> dict[str, float]:
        """λ, and means over this rank's training steps in the epoch so far (NaN without any).

        The means are L_att, the task loss, the weighted loss of guidance and the distillation loss
        before its weight.
        """
        names = ["link_distance", "task_loss"]
        names += ["guidance_loss"] * self._guided + ["distill_loss"] * (self.distill is not None)
        return dict(
            link_weight=self.link_weight, **{name: self._losses.mean(name) for name in names}
        )

    def check_finite(self) -> None:
        """Raise FloatingPointError where a loss of the epoch so far was NaN or infinite."""
        self._losses.check(self.link_weight)

    def forward(
        self, input: Tensor, target: Tensor, views: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Images (B, 3, H, W) and targets → `loss`, `output` (logits) and the parts of the loss.

        Targets are what the criterion takes: class indices (B,), or (B, K) of mixup or many labels.

        `task_loss` is the criterion's, `link_loss` is λ · L_att; with guidance there is a weighted
        `guidance_loss`, and with distillation `distill_loss`, before its weight.

        Args:
            views: after `keep_maps`, the number of each image's view.
        """
        if self._many_labels and not (target.dim() == 2 and target.is_floating_point()):
            raise ValueError(
                f"targets of shape {tuple(target.shape)} and type {target.dtype}; multi-label "
                "training needs (batch, classes) of a floating type"
            )
        active, distill = self.link_weight > 0, self.distill
        needed = active or self._guided
        activations: Any = None
        teacher_logits: Any = None
        if needed and self.kept is not None and views is not None:
            unwrap_model(self.teacher).images.check(input)
            activations = self.kept(input, views)
        elif needed or distill is not None:
            activations, teacher_logits = self.teacher(input, with_logits=distill is not None)
        try:
            output, distance, *guidance = self.trainable_module(
                input, activations if needed else None, active
            )
        except BaseException:  # out here, for the module may be compiled
            unwrap_model(self.trainable_module).discard()
            raise
        link_loss = self.link_weight * distance
        logits, distilled = (output, output) if distill is None else distill.split(output)
        task_loss = self.criterion(logits, target)
        result = dict(output=logits, task_loss=task_loss, link_loss=link_loss)
        loss = task_loss
        if distill is not None:
            loss, result["distill_loss"] = distill(task_loss, distilled, teacher_logits)
        result["loss"] = loss + link_loss
        if guidance:
            (result["guidance_loss"],) = guidance
            result["loss"] = result["loss"] + result["guidance_loss"]
        # Not self.training: timm's train.py sets the mode of the trainable module alone.
        if self.trainable_module.training:
            losses = {name: result[name] for name in result if "loss" in name}
            self._losses.add(losses, **(dict(link_distance=distance) if active else {}))
        return result
