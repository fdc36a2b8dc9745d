"""`LinkedTask`: what timm's trainer asks of a task with a teacher beside a linked student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.task import ClassificationTask
from timm.utils import unwrap_model
from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher, Unregistered

from .linked_student import TimmLinkedStudent
from .task_state import load_task_state, task_state


class LinkedTask(ClassificationTask):
    """Compiles, distributes, clips and saves a `TimmLinkedStudent`; the teacher is in no state.

    A subclass sets `trainable_module` and `_teacher`.
    """

    trainable_module: Any
    _teacher: Unregistered

    @property
    def teacher(self) -> FrozenTeacher:
        """The frozen teacher."""
        return self._teacher.module

    def compile(
        self, backend: str = "inductor", mode: str | None = None, **compile_kwargs: Any
    ) -> nn.Module:
        """Compile student with links, student alone, and teacher; before DDP, after EMA."""

        def compiled(module: nn.Module) -> Any:
            return torch.compile(module, backend=backend, mode=mode, **compile_kwargs)

        self.eval_model = compiled(self.trainable_module.student)
        self.trainable_module = compiled(self.trainable_module)
        self._teacher = Unregistered(compiled(self.teacher))
        return self.eval_model

    def prepare_distributed(self, device_ids: list | None = None, **ddp_kwargs: Any) -> LinkedTask:
        """Wrap student and links in DDP; the teacher is none of its concern."""
        # DDP takes no device ids for modules on the CPU, and train.py hands it `device_ids=[cpu]`.
        on_cpu = next(self.trainable_module.parameters()).device.type == "cpu"
        return super().prepare_distributed(None if on_cpu else device_ids, **ddp_kwargs)

    def get_eval_model(
        self, module: nn.Module | None = None, ema: bool = False
    ) -> nn.Module | None:
        """The plain student, or its EMA copy; None before `setup_ema`."""
        resolved = super().get_eval_model(module=module, ema=ema)
        linked = unwrap_model(resolved)
        return linked.student if isinstance(linked, TimmLinkedStudent) else resolved

    def get_clip_parameters(self, exclude_head: bool = False) -> list[nn.Parameter]:
        """Student, links and guidance; `exclude_head` leaves the student's last two out."""
        linked = unwrap_model(self.trainable_module)
        student = list(linked.student.parameters())
        return [*(student[:-2] if exclude_head else student), *linked.added_parameters()]

    def get_task_state(self, module: nn.Module | None = None, ema: bool = False) -> dict[str, Any]:
        module = module if module is not None else self.get_trainable_module(ema=ema)
        return {} if module is None else task_state(unwrap_model(module))

    def load_task_state(
        self,
        state: dict[str, Any] | None,
        strict: bool = True,
        module: nn.Module | None = None,
        ema: bool = False,
    ) -> None:
        module = module if module is not None else self.get_trainable_module(ema=ema)
        load_task_state(unwrap_model(module), state or {}, strict)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> LinkedTask:
        self._teacher.apply(fn)
        return super()._apply(fn, *args, **kwargs)
