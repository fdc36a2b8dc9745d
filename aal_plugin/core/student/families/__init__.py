"""The architecture families whose attention AAL can read, one adapter each.

An adapter receives a module and returns its `StudentReader`, or None for a module of another
family. It recognises a module by its class and the classes of its blocks: a subclass is recognised
too, unless it computes its attention in another way.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from aal_plugin.core.student.readers import StudentReader
from aal_plugin.core.student.recognise import is_a

from .class_attention import cait, xcit
from .hugging_face import hugging_face
from .levit import levit, tinyvit
from .mmpretrain_relative import mmpretrain_mvit, mmpretrain_sam
from .mmpretrain_vit import (
    mmpretrain_beit,
    mmpretrain_eva02,
    mmpretrain_hivit,
    mmpretrain_t2t,
    mmpretrain_vit,
)
from .mmpretrain_windows import mmpretrain_swin
from .timm_hiera import timm_hiera
from .timm_maxxvit import timm_maxxvit
from .timm_parallel import timm_parallel
from .timm_relative import timm_relpos, timm_sam
from .timm_rotary import timm_eva, timm_naflexvit
from .timm_vit import timm_beit, timm_convit, timm_pit, timm_vit
from .timm_windows import timm_swin, timm_swinv2_cr

FAMILIES: dict[str, Callable[[nn.Module], StudentReader | None]] = {
    "MMPretrain VisionTransformer, DistilledVisionTransformer, DeiT3, RevVisionTransformer": (
        mmpretrain_vit
    ),
    "MMPretrain T2T_ViT": mmpretrain_t2t,
    "MMPretrain BEiTViT": mmpretrain_beit,
    "MMPretrain ViTEVA02": mmpretrain_eva02,
    "MMPretrain HiViT": mmpretrain_hivit,
    "MMPretrain ViTSAM": mmpretrain_sam,
    "MMPretrain MViT": mmpretrain_mvit,
    "MMPretrain SwinTransformer and SwinTransformerV2": mmpretrain_swin,
    "timm VisionTransformer (ViT, DeiT, DeiT-III)": timm_vit,
    "timm BEiT": timm_beit,
    "timm PiT": timm_pit,
    "timm Swin v1 and v2": timm_swin,
    "timm ConViT": timm_convit,
    "timm Eva (EVA-02, DINOv3)": timm_eva,
    "timm NaFlexViT": timm_naflexvit,
    "timm VisionTransformerRelPos": timm_relpos,
    "timm VisionTransformerSAM": timm_sam,
    "timm VisionTransformer of parallel blocks or differential attention": timm_parallel,
    "timm CaiT": cait,
    "timm and MMPretrain XCiT": xcit,
    "timm Hiera": timm_hiera,
    "timm MaxViT and CoAtNet": timm_maxxvit,
    "timm SwinTransformerV2Cr": timm_swinv2_cr,
    "Hugging Face ViT, DeiT, BEiT, DINOv2, DINOv3 ViT": hugging_face,
    "timm and MMPretrain LeViT": levit,
    "timm and MMPretrain TinyViT": tinyvit,
}

# Students that AAL cannot read: why, and what to do.
UNREADABLE = {
    ("timm.models.xcit.Xcit", "mmpretrain.models.backbones.xcit.XCiT"): (
        "its cross-covariance attention weighs channels, not patches, so it has no attention maps; "
        "AAL reads XCiT's class-attention blocks: set cls_attn_layers=1 or more"
    ),
    ("timm.models.davit.DaVit", "mmpretrain.models.backbones.davit.DaViT"): (
        "every second block weighs channels, not patches, and AAL does not read the others; choose "
        "Swin, which attends within windows too"
    ),
}


def known_reader(student: nn.Module) -> StudentReader | None:
    """The reader of the first module within the student that a family knows, or None.

    Example:
        >>> import timm
        >>> len(known_reader(timm.create_model("test_vit")).blocks)
        6
        >>> known_reader(timm.create_model("test_resnet")) is None
        True
    """
    for module in student.modules():
        for family in FAMILIES.values():
            reader = family(module)
            if reader is not None:
                return reader
    return None


def find_reader(student: nn.Module) -> StudentReader:
    """As `known_reader`, but an unknown student is an error.

    Raises:
        ValueError: no family knows any of the student's modules.

    Example:
        >>> import timm
        >>> find_reader(timm.create_model("test_vit")).image_size
        (160, 160)
    """
    reader = known_reader(student)
    if reader is None:
        for module in student.modules():
            for classes, reason in UNREADABLE.items():
                if is_a(module, *classes):
                    raise ValueError(f"backbone {type(module).__name__}: {reason}")
        raise ValueError(
            f"backbone {type(student).__name__}: AAL does not know how to read its attention; "
            f"known families: {'; '.join(FAMILIES)}. For your own ViT, set attention_layers to "
            "the names of its attention modules"
        )
    return reader


def image_size_of(student: nn.Module) -> tuple[int, int] | None:
    """(H, W) that a student was built for, or None if it accepts any.

    Example:
        >>> import timm
        >>> image_size_of(timm.create_model("test_vit"))
        (160, 160)
    """
    reader = known_reader(student)
    size = reader.image_size if reader is not None else None
    size = size or getattr(student, "img_size", None)
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return height, width
