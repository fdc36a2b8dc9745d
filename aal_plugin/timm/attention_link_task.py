"""`AttentionLinkTask`: AAL as a task of timm's trainer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.task import ClassificationTask
from timm.utils import unwrap_model
from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher, KeptTeacher, Unregistered, check_schedule, link_weight
from aal_plugin.core.guidance import GuidanceSetting
from aal_plugin.core.kept_views import kept_teacher
from aal_plugin.core.losses.link_ranges import Links
from aal_plugin.core.losses.schedule import Gammas
from aal_plugin.core.settings import check_number
from aal_plugin.core.student.by_name import AttentionLayers

from .distillation import Distillation
from .linked_student import TimmLinkedStudent, one_per_channel

_logger = logging.getLogger(__name__)


class AttentionLinkTask(ClassificationTask):
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

    trainable_module: Any

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
        self._schedule = (gammas, milestones, stop_epoch, start_epoch, warmup_epochs)
        check_schedule(*self._schedule)
        self.loss_weight, self.distill = float(loss_weight), distill
        self.kept: KeptTeacher | None = None
        if distill is not None:  # timm before 1.0.30 knows one label alone
            distill.check(model, teacher, getattr(self, "multi_label", False))
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
            mean, std = ([255 * v for v in one_per_channel(each, model)] for each in (mean, std))
            teacher.match_input(mean, std, rgb=True, advice="check --mean and --std")
        self._teacher = Unregistered(teacher.to(device=weights.device, dtype=weights.dtype))
        self._linked = linked.link_loss is not None
        self._guided = linked.guidance is not None and linked.guidance.weight > 0
        self.trainable_module = linked
        self.set_epoch(0)

    @property
    def teacher(self) -> FrozenTeacher:
        """The frozen teacher."""
        return self._teacher.module

    def keep_maps(
        self, folder: str, views: int, shown: Mapping[str, Any], image_size: tuple[int, int, int]
    ) -> None:
        """Keep the teacher's maps in a folder; `forward` then needs the view of each image.

        Args:
            folder, views, shown: see `aal_plugin.core.kept_views.kept_teacher`.
            image_size: (C, H, W) of the student's images.

        Raises:
            ValueError, OSError: distillation needs the teacher's logits; see `KeptMaps`.
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
        self._names: list[str] = []
        self._steps: list[Tensor] = []  # the losses of each training step, (names,)

    def epoch_metrics(self) -> dict[str, float]:
        """λ, and this rank's means of L_att (NaN while λ is 0) and of the parts of the loss."""
        if not self._steps:
            return dict(link_weight=self.link_weight)
        losses = dict(zip(self._names, torch.stack(self._steps).mean(dim=0).tolist()))
        del losses["loss"]
        link_loss = losses.pop("link_loss")
        distance = link_loss / self.link_weight if self.link_weight else math.nan
        return dict(link_weight=self.link_weight, link_distance=distance, **losses)

    def check_finite(self) -> None:
        """Raise FloatingPointError where a loss of the epoch so far was NaN or infinite."""
        steps = torch.stack(self._steps) if self._steps else torch.zeros(0, 0)
        bad = ~steps.isfinite().all(dim=1)
        if bad.any():
            first = int(bad.nonzero()[0])
            losses = zip(self._names, steps[first].tolist())
            told = ", ".join(f"{name} is {value}" for name, value in losses)
            raise FloatingPointError(
                f"step {first + 1} of the epoch: {told}, link_weight={self.link_weight:g}. "
                "Training ends here, before a checkpoint is made of it; lower the learning rate or "
                "the weight of that loss"
            )

    def forward(
        self, input: Tensor, target: Tensor, views: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Images (B, 3, H, W) and targets → `loss`, `output` (logits) and the parts of the loss.

        Targets are what the criterion takes: class indices (B,), or (B, K) of mixup or many labels;
        views, after `keep_maps`, are the numbers of the images' views. `task_loss` is the
        criterion's, `link_loss` is λ · L_att, `guidance_loss` is weighted, `distill_loss` is not.
        """
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
        logits, distilled = (output, output) if distill is None else distill.split(output)
        loss = task_loss = self.criterion(logits, target)
        result = dict(output=logits, task_loss=task_loss, link_loss=self.link_weight * distance)
        if distill is not None:
            loss, result["distill_loss"] = distill(task_loss, distilled, teacher_logits)
        result.update(zip(["guidance_loss"], guidance))
        result["loss"] = sum(guidance, loss + result["link_loss"])
        # Not self.training: timm's train.py sets the mode of the trainable module alone.
        if self.trainable_module.training:
            self._names = [name for name in result if "loss" in name]
            # A new tensor: the next step of a CUDA graph overwrites the outputs of this one.
            losses = [result[name].detach().float() for name in self._names]
            self._steps.append(torch.stack(losses))
        return result

    def compile(self, backend: str = "inductor", mode: Any = None, **options: Any) -> nn.Module:
        """Compile student with links, student alone, and teacher; before DDP, after EMA."""
        modules = self.trainable_module.student, self.trainable_module, self.teacher
        parts: Any = [
            torch.compile(each, backend=backend, mode=mode, **options) for each in modules
        ]
        self.eval_model, self.trainable_module, teacher = parts
        self._teacher = Unregistered(teacher)
        return self.eval_model

    def prepare_distributed(self, device_ids: list | None = None, **options: Any) -> Any:
        """Wrap student and links in DDP; the teacher is none of its concern."""
        # DDP takes no device ids for modules on the CPU, and train.py hands it `device_ids=[cpu]`.
        on_cpu = next(self.trainable_module.parameters()).device.type == "cpu"
        return super().prepare_distributed(None if on_cpu else device_ids, **options)

    def get_eval_model(self, module: Any = None, ema: bool = False) -> nn.Module | None:
        """The plain student, or its EMA copy; None before `setup_ema`."""
        resolved = super().get_eval_model(module=module, ema=ema)
        linked = unwrap_model(resolved)
        return linked.student if isinstance(linked, TimmLinkedStudent) else resolved

    def get_clip_parameters(self, exclude_head: bool = False) -> list[nn.Parameter]:
        """Student, links and guidance; `exclude_head` leaves the student's last two out."""
        linked = unwrap_model(self.trainable_module)
        student = list(linked.student.parameters())
        return [*(student[:-2] if exclude_head else student), *linked.added_parameters()]

    def get_task_state(self, module: Any = None, ema: bool = False) -> dict[str, Any]:
        module = module or self.get_trainable_module(ema=ema)
        return {} if module is None else unwrap_model(module).task_state()

    def load_task_state(
        self, state: Any, strict: bool = True, module: Any = None, ema: bool = False
    ) -> None:
        module = module or self.get_trainable_module(ema=ema)
        unwrap_model(module).load_task_state(state or {}, strict)

    def _apply(
        self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any
    ) -> AttentionLinkTask:
        self._teacher.apply(fn)
        return super()._apply(fn, *args, **kwargs)
