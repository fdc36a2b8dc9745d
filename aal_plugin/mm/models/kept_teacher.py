"""What an `AALClassifier`'s teacher says of a batch; of `RepeatedViews`, what was kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.logging import print_log
from torch import Tensor

from aal_plugin.core.images import trial
from aal_plugin.core.teacher.kept_maps import KeptMaps, KeptTeacher
from aal_plugin.core.teacher.packing import kept_shapes

from .heads.attention_link_head import AttentionLinkHead
from .heads.teacher_head import ACTIVATIONS, TEACHER_GRADIENT, TEACHER_LOGITS, Step, teacher_of

if TYPE_CHECKING:
    from .classifier import AALClassifier

Grid = tuple[int, int] | None


def taught(
    model: AALClassifier, step: Step, needs: frozenset[str]
) -> tuple[list[Tensor], Tensor | None]:
    """The teacher's maps of every level, (B, C, h, w) each, and its logits (B, K) or None.

    Raises:
        ValueError: maps of the batch are kept, but a loss needs more than maps, or Mixup changes
            the images after the data set; the kept ones are of another teacher or other images.
    """
    views = [sample.metainfo.get("view") for sample in step.data_samples]
    folders = {view and view.folder for view in views}
    if not folders - {None}:
        return teacher_of(model)(
            step.images,
            with_logits=bool(needs & {TEACHER_LOGITS, TEACHER_GRADIENT}),
            with_gradient=TEACHER_GRADIENT in needs,
        )
    key = f"RepeatedViews.kept_maps={views[0] and views[0].folder!r}"
    if len(folders) > 1:
        raise ValueError(
            f"{key}: a batch has images of {len(folders)} data sets; put RepeatedViews around "
            "the whole train_dataloader.dataset"
        )
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
    numbers, entries = [view.number for view in views], [view.entry for view in views]
    return model._kept(step.images, numbers, entries), None


def _kept_teacher(model: AALClassifier, images: Tensor, view: Any) -> KeptTeacher:
    assert model._teacher is not None
    late = model._teacher.module
    grid, antialias = _map_grid(model, images)
    grid = view.size or grid
    there = KeptMaps.existing(view.folder)
    own = dict(grid=grid, antialias=antialias, pixels=list(images.shape[1:]))
    for name, values in model.data_preprocessor.named_buffers():
        own[f"pixels' {name}"] = values.flatten().tolist()
    key = dict(view.images, **late.key(there.key if there else {}), **own)
    if there is not None:  # their shapes follow from the key
        shapes = there.shapes
    else:
        shapes = kept_shapes(late(images[:1])[0], grid)
    kept = KeptMaps(view.folder, view.count, shapes, key, view.bits)
    kept.check_room()
    print_log(
        f"kept maps: {view.count} views in {view.folder}, {kept.size / 1e9:.2f} GB in all",
        logger="current",
    )
    # The teacher is built when the first view is missing, if it ever is.
    return KeptTeacher(late, kept, antialias)


def _map_grid(model: AALClassifier, images: Tensor) -> tuple[Grid, bool]:
    """The one grid on which all heads compare maps, and whether they smooth maps before.

    The grid is None if the maps are kept as they are.
    """
    heads = [head for head in model.teacher_heads if ACTIVATIONS in head.needs]
    for head in heads:
        head.start(images.shape[-2:])
    with trial(model):
        model.extract_feat(images[:1])
    grids = [head.map_grids() for head in heads]
    found = {grid for each in grids for grid in each or ()}
    smooth = {isinstance(head, AttentionLinkHead) and head.link_loss.antialias for head in heads}
    one = len(found) == len(smooth) == 1 and None not in grids
    return (found.pop(), smooth.pop()) if one else (None, False)
