"""The architecture families whose attention is known, one adapter each.

An adapter receives a module and returns its `StudentReader`, or None for a module of another
family. It recognises a module by its class and the classes of its blocks: a subclass is recognised
too, unless it computes its attention in another way.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from aal_plugin.core.student.readers import StudentReader

from .mmpretrain import mmpretrain_beit, mmpretrain_swin, mmpretrain_t2t, mmpretrain_vit
from .timm import timm_beit, timm_convit, timm_pit, timm_swin, timm_vit

FAMILIES: dict[str, Callable[[nn.Module], StudentReader | None]] = {
    "MMPretrain VisionTransformer, DistilledVisionTransformer, DeiT3": mmpretrain_vit,
    "MMPretrain T2T_ViT": mmpretrain_t2t,
    "MMPretrain BEiTViT": mmpretrain_beit,
    "MMPretrain SwinTransformer and SwinTransformerV2": mmpretrain_swin,
    "timm VisionTransformer (ViT, DeiT, DeiT-III)": timm_vit,
    "timm BEiT": timm_beit,
    "timm PiT": timm_pit,
    "timm Swin v1 and v2": timm_swin,
    "timm ConViT": timm_convit,
}


def known_reader(student: nn.Module) -> StudentReader | None:
    """The reader of the first module within the student that a family knows, or None."""
    for module in student.modules():
        for family in FAMILIES.values():
            reader = family(module)
            if reader is not None:
                return reader
    return None


def find_reader(student: nn.Module) -> StudentReader:
    """As `known_reader`.

    Raises:
        ValueError: no family knows any of the student's modules.
    """
    reader = known_reader(student)
    if reader is None:
        raise ValueError(
            f"backbone {type(student).__name__}: AAL does not know how to read its attention; "
            f"known families: {'; '.join(FAMILIES)}. For your own ViT, set attention_layers to "
            "the names of its attention modules"
        )
    return reader


def image_size_of(student: nn.Module) -> tuple[int, int] | None:
    """(H, W) that a student was built for, or None where it takes any."""
    reader = known_reader(student)
    size = reader.image_size if reader is not None else getattr(student, "img_size", None)
    return (size, size) if isinstance(size, int) else size and tuple(size)
