"""An `AALClassifier` and the kept maps of the views that `RepeatedViews` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log
from torch import Tensor

from aal_plugin.core import KeptTeacher
from aal_plugin.core.kept_views import compared_grid
from aal_plugin.core.teacher.kept_teacher import Grid, keep_maps

from .heads.teacher_head import ACTIVATIONS

if TYPE_CHECKING:
    from .classifier import AALClassifier


def maps_of_views(
    model: AALClassifier, images: Tensor, views: list[Any], logits: bool
) -> list[Tensor]:
    """The maps (B, C, h, w) of each level, kept or computed, of the views of a batch of images.

    Raises:
        ValueError: a loss needs the logits too, or Mixup changes the images after the data set; the
            kept maps are of another teacher or other images.
    """
    key = f"RepeatedViews.kept_maps={views[0] and views[0].folder!r}"
    folders = {view and view.folder for view in views}
    if len(folders) > 1:
        raise ValueError(
            f"{key}: a batch has images of {len(folders)} data sets; put RepeatedViews around "
            "the whole train_dataloader.dataset"
        )
    if logits:
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
        model._kept = _kept_teacher(model, images[:1], views[0])
    return model._kept(images, [view.number for view in views], [view.entry for view in views])


def _kept_teacher(model: AALClassifier, image: Tensor, view: Any) -> KeptTeacher:
    assert model._teacher is not None
    late = model._teacher.module
    known = late.key(view.folder)
    grid, antialias = grid_of(model, image)
    pixels = model.data_preprocessor.named_buffers()
    shown = {f"pixels' {name}": values.flatten().tolist() for name, values in pixels}
    shown.update(view.images)
    size = view.size or grid
    given = late if known else late.get()
    teacher = keep_maps(
        given, image, view.folder, view.count, shown, size, antialias, view.bits, known
    )
    if known:
        print_log("kept maps: the teacher is not built unless one is missing", logger="current")
    elif late.source is not None:
        late.source.write(teacher.kept.folder, teacher.kept.key)
    gigabytes = f"{teacher.kept.size / 1e9:.2f} GB in all"
    print_log(f"kept maps: {view.count} views in {view.folder}, {gigabytes}", logger="current")
    return teacher


def grid_of(model: AALClassifier, image: Tensor) -> tuple[Grid | None, bool]:
    """The one grid on which all heads compare maps, and whether they smooth maps before."""
    heads = [head for head in model.teacher_heads if ACTIVATIONS in head.needs]
    losses = [head.recording for head in heads]
    if None in losses:  # a head of one's own, which may do anything with a map
        return None, False
    return compared_grid(model, losses, image, model.extract_feat)
