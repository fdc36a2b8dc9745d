"""What an `AALClassifier`'s teacher says of a batch; of `RepeatedViews`, what was kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log
from torch import Tensor

from aal_plugin.core import KeptTeacher
from aal_plugin.core.kept_views import compared_grid, kept_teacher

from .heads.teacher_head import TEACHER_GRADIENT, TEACHER_LOGITS, Step, teacher_of

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
        model._kept = _kept_teacher(model, step.images, views[0])
    return model._kept(step.images, [view.number for view in views]), None


def _kept_teacher(model: AALClassifier, images: Tensor, view: Any) -> KeptTeacher:
    head = getattr(model, "link_head", None)
    grid = head and compared_grid(head.link_loss, model, model.extract_feat, images)
    made = kept_teacher(teacher_of(model), images, view.folder, view.count, view.images, grid)
    print_log(
        f"kept maps: {view.count} views in {view.folder}, {made.kept.size / 1e9:.2f} GB in all",
        logger="current",
    )
    return made
