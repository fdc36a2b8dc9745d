"""What an `AALClassifier`'s teacher says of a batch; of `RepeatedViews`, what was kept of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from aal_plugin.core import FrozenTeacher
from aal_plugin.core.teacher.kept_maps import KeptMaps, KeptTeacher, kept_shapes

from .heads.teacher_head import ACTIVATIONS, TEACHER_GRADIENT, TEACHER_LOGITS, Step, teacher_of

if TYPE_CHECKING:
    from .classifier import AALClassifier


def taught(
    model: AALClassifier, step: Step, needs: frozenset[str]
) -> tuple[list[Tensor], Tensor | None]:
    """The teacher's maps of every level, (B, C, h, w) each, and its logits (B, K) or None.

    Raises:
        ValueError: maps of the batch are kept, but a loss needs more than maps, or Mixup changes
            the images after the data set; the kept ones are of another teacher or other images.
    """
    views = [sample.metainfo.get("view") for sample in step.data_samples]
    if not views or any(view is None or view.folder is None for view in views):
        return teacher_of(model)(
            step.images,
            with_logits=bool(needs & {TEACHER_LOGITS, TEACHER_GRADIENT}),
            with_gradient=TEACHER_GRADIENT in needs,
        )
    key = f"RepeatedViews.kept_maps={views[0].folder!r}"
    if needs & {TEACHER_LOGITS, TEACHER_GRADIENT}:
        raise ValueError(
            f"{key} keeps the teacher's maps alone, but a head needs its logits; remove kept_maps "
            "or that head"
        )
    if model.data_preprocessor.batch_augments is not None:
        raise ValueError(
            f"{key}: train_cfg.augments mix images after their maps were kept; remove kept_maps or "
            "the augments"
        )
    if model._kept is None:
        grid = _map_grid(model, step.images)
        model._kept = _kept_teacher(teacher_of(model), step.images, views[0], grid)
    return model._kept(step.images, [view.number for view in views]), None


def _kept_teacher(
    teacher: FrozenTeacher, images: Tensor, view: Any, grid: tuple[int, int] | None
) -> KeptTeacher:
    shapes = kept_shapes(teacher(images[:1])[0], grid)
    key = dict(view.images, teacher=_identity(teacher), layers=list(teacher.layers))
    key["pixels"] = list(images.shape[1:])
    kept = KeptMaps(view.folder, view.count, shapes, key)
    print_log(
        f"kept maps: {view.count} views in {view.folder}, {kept.size / 1e9:.2f} GB in all",
        logger="current",
    )
    return KeptTeacher(teacher, kept)


def _map_grid(model: AALClassifier, images: Tensor) -> tuple[int, int] | None:
    """The one grid on which all heads compare maps, or None to keep the maps as they are."""
    heads = [head for head in model.teacher_heads if ACTIVATIONS in head.needs]
    modes = {module: module.training for module in model.modules()}
    for module in modes:  # no running statistics and no random draws of this one image
        module.training = False
    for head in heads:
        head.start(images.shape[-2:])
    model.extract_feat(images[:1])
    for module, mode in modes.items():
        module.training = mode
    grids = [head.map_grids() for head in heads]
    found = {grid for each in grids for grid in each or ()}
    return found.pop() if len(found) == 1 and None not in grids else None


def _identity(teacher: FrozenTeacher) -> str:
    """A hash of the teacher's weights and of how it receives images."""
    modules, state = vars(nn.Module()), teacher.images
    images = {k: v for k, v in vars(state).items() if k not in modules and k != "_unchecked"}
    buffers = [buffer.flatten().tolist() for buffer in state.buffers()]
    total = hashlib.sha256(repr((teacher.name, str(teacher._dtype), images, buffers)).encode())
    for name, tensor in teacher.model.state_dict().items():
        plain = tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
        total.update(name.encode() + plain.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]
