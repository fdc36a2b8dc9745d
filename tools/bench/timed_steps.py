"""Whole training steps of AAL and of its alternatives, on one student."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import timm
import timm.task
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aal_plugin.core import AttentionLinks, AttentionRecorder, TimmTeacher, link_ranges
from aal_plugin.core.teacher.kept_maps import KeptMaps
from aal_plugin.core.teacher.kept_teacher import KeptTeacher, kept_shapes

from .setting import Setting
from .straightforward import (
    StraightforwardTeacher,
    distance_of_maps,
    full_attention,
    straightforward_distance,
)
from .timing import Step

WEIGHT = 2000.0  # λ of epoch 0


class TimedSteps:
    """Builds steps that share one student and its optimizer, so that all train the same model."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        torch.manual_seed(0)
        self.student = timm.create_model(
            setting.student, num_classes=setting.classes, img_size=setting.size
        ).to(setting.device)
        self.recorder = AttentionRecorder(self.student)  # before any compilation
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-5)
        self.images = torch.randn(setting.batch, 3, setting.size, setting.size).to(setting.device)
        self.targets = torch.randint(setting.classes, (setting.batch,)).to(setting.device)
        self.best_teacher = self.make_teacher()
        self.links = self.make_links(self.best_teacher)

    def make_teacher(self, **changes: Any) -> TimmTeacher:
        setting = self.setting
        options: dict[str, Any] = dict(
            channels_last=setting.channels_last,
            fold_norms=setting.fold_norms,
            dtype=None if setting.dtype == "float32" else setting.dtype,
            compile=setting.compile,
        )
        options.update(changes)
        return TimmTeacher(
            setting.teacher, allow_random_weights=True, num_classes=setting.classes, **options
        ).to(setting.device)

    def make_links(self, teacher: TimmTeacher) -> AttentionLinks:
        ranges = link_ranges(self.setting.links, len(teacher.channels), len(self.recorder.heads))
        links = AttentionLinks(ranges, self.recorder.heads, teacher.channels)
        return links.to(self.setting.device)

    def plain(self) -> Step:
        """The student's step alone."""

        def loss() -> Tensor:
            return F.cross_entropy(student(self.images), self.targets)

        student = self._compiled(self.student)
        return self._step(loss)

    def teacher(self, teacher: nn.Module | None = None) -> Step:
        """The teacher's forward pass alone, up to its last level."""
        chosen = teacher or self.best_teacher
        return lambda: self._cast(chosen, self.images)

    def peers_teacher(self) -> Step:
        """The whole forward pass of timm's own model, eager and channels first, as in peers."""
        return self.teacher(self._timm(self.setting.teacher).eval().requires_grad_(False))

    def aal(
        self,
        teacher: Callable[[Tensor], Any] | None = None,
        distance: Callable[..., Tensor] | None = None,
        teacher_first: bool = True,
        compiled: bool | None = None,
    ) -> Step:
        """The student's step with AAL; each argument turns off one thing that makes it fast."""
        chosen = teacher or self.best_teacher
        measure = distance or AttentionLinks.distance

        def student_loss(levels: list[Tensor] | None) -> Tensor:
            self.recorder.start((self.setting.size, self.setting.size))
            logits = self.student(self.images)
            maps = self.recorder.stop()
            levels = levels or chosen(self.images)[0]
            gap = measure(self.links, maps, levels)
            return F.cross_entropy(logits, self.targets) + WEIGHT * gap

        run = self._compiled(student_loss, compiled)

        def loss() -> Tensor:
            return run(chosen(self.images)[0] if teacher_first else None)

        return self._step(loss, self.links)

    def kept(self) -> Step:
        """The student's step with AAL and kept maps: each step reads them from their file."""
        height, width = self.student.patch_embed.grid_size
        maps, _ = self._cast(self.best_teacher, self.images)
        folder = mkdtemp(prefix="aal-kept-maps-")
        atexit.register(rmtree, folder, ignore_errors=True)
        shapes = kept_shapes(maps, (height, width))
        kept = KeptMaps(folder, len(self.images), shapes, key={})
        teacher = KeptTeacher(self.best_teacher, kept)
        views = range(len(self.images))
        return self.aal(lambda images: (teacher(images, views), None))

    def links_alone(self, distance: Callable[..., Tensor] | None = None) -> Step:
        """Links and distance, forward and backward, on recorded maps."""
        self.recorder.start((self.setting.size, self.setting.size))
        self._cast(self.student, self.images)
        maps = [block.detach().requires_grad_() for block in self.recorder.stop()]
        levels, _ = self._cast(self.best_teacher, self.images)
        measure = distance or AttentionLinks.distance
        return lambda: measure(self.links, maps, levels).backward()

    def straightforward(self) -> Step:
        """AAL with full attention matrices, all maps in memory, and timm's own teacher."""
        teacher = StraightforwardTeacher(self._timm(self.setting.teacher), self.best_teacher.layers)
        links = self.make_links(self.best_teacher)
        patch_size = self.student.patch_embed.patch_size
        grid = tuple(self.setting.size // side for side in patch_size)

        def loss() -> Tensor:
            with full_attention(self.student) as attention:
                logits = self.student(self.images)
            gap = straightforward_distance(
                links, attention, teacher(self.images), grid, self.student.num_prefix_tokens
            )
            return F.cross_entropy(logits, self.targets) + WEIGHT * gap

        return self._step(loss, links)

    def timm_task(self, kind: str, teacher: str | None = None) -> Step:
        """A step of timm's 'logit' or 'feature' distillation, with the same teacher or another."""
        task_class = dict(
            logit=timm.task.LogitDistillationTask, feature=timm.task.FeatureDistillationTask
        )[kind]
        task = task_class(
            self.student,
            self._timm(teacher or self.setting.teacher),
            device=torch.device(self.setting.device),
            verbose=False,
        )
        extra = getattr(task.trainable_module, "projection", None)
        if self.setting.compile:
            task.compile()
        return self._step(lambda: task(self.images, self.targets)["loss"], extra)

    def without(self) -> dict[str, Callable[[], Step]]:
        """Makers of AAL's step with each thing that makes it fast turned off."""
        of_teacher: dict[str, dict[str, Any]] = {
            "teacher channels first": dict(channels_last=False),
            "norms not folded": dict(fold_norms=False),
        }
        if self.setting.dtype != "float32":
            of_teacher["teacher under autocast"] = dict(dtype=None)
        if self.setting.compile:
            of_teacher["teacher not compiled"] = dict(compile=False)

        def made(changes: dict[str, Any]) -> Callable[[], Step]:
            return lambda: self.aal(self.make_teacher(**changes))

        makers = {name: made(changes) for name, changes in of_teacher.items()}
        makers["all maps in memory"] = lambda: self.aal(distance=distance_of_maps)
        makers["teacher after student"] = lambda: self.aal(teacher_first=False)
        if self.setting.compile:
            makers["nothing compiled"] = lambda: self.aal(
                self.make_teacher(compile=False), compiled=False
            )
        return {f"aal step: {name}": maker for name, maker in makers.items()}

    def parts(self) -> dict[str, Callable[[], Step]]:
        """Makers of AAL's parts alone, as they are and with one thing turned off."""
        makers: dict[str, Callable[[], Step]] = {
            "teacher": self.teacher,
            "teacher with channels first": lambda: self.teacher(
                self.make_teacher(channels_last=False)
            ),
            "teacher with norms not folded": lambda: self.teacher(
                self.make_teacher(fold_norms=False)
            ),
            "links and distance": self.links_alone,
            "links and distance with all maps in memory": lambda: self.links_alone(
                distance_of_maps
            ),
        }
        return {f"part: {name}": maker for name, maker in makers.items()}

    def _step(self, loss: Callable[[], Tensor], extra: nn.Module | None = None) -> Step:
        optimizers = [self.optimizer]
        if extra is not None:
            optimizers.append(torch.optim.AdamW(extra.parameters(), lr=1e-5))

        def step() -> None:
            for optimizer in optimizers:
                optimizer.zero_grad()
            self.student.train()
            self._cast(loss).backward()
            for optimizer in optimizers:
                optimizer.step()

        return step

    def _cast(self, function: Callable[..., Any], *inputs: Tensor) -> Any:
        context: AbstractContextManager = nullcontext()
        if self.setting.dtype != "float32":
            device, dtype = self.setting.device.split(":")[0], getattr(torch, self.setting.dtype)
            context = torch.autocast(device, dtype=dtype)
        with context:
            return function(*inputs)

    def _compiled(self, function: Callable, wanted: bool | None = None) -> Callable:
        wanted = self.setting.compile if wanted is None else wanted
        return torch.compile(function) if wanted else function

    def _timm(self, name: str) -> nn.Module:
        return timm.create_model(name, num_classes=self.setting.classes).to(self.setting.device)
