"""The architecture families whose attention AAL can read, one function each.

A function receives a module of its family and returns its `StudentReader`; see `family`.
"""

from __future__ import annotations

from contextlib import suppress

from torch import nn

from aal_plugin.core.student.readers import StudentReader
from aal_plugin.core.student.recognise import (
    NAMES,
    READERS,
    OtherAttention,
    class_paths_of,
    is_a,
)

# Importing a file registers its families.
from . import (  # noqa: F401
    both_libraries,
    hugging_face,
    mmpretrain,
    timm_positions,
    timm_vit,
    timm_windows,
)

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
    """The reader of the first module within the student that a family knows, or None."""
    for module in student.modules():
        for path in class_paths_of(module):
            with suppress(OtherAttention):
                reader = READERS[path](module) if path in READERS else None
                if reader is not None and reader.blocks:
                    return reader
    return None


def find_reader(student: nn.Module) -> StudentReader:
    """As `known_reader`, but an unknown student is an error."""
    reader = known_reader(student)
    if reader is None:
        for module in student.modules():
            for classes, reason in UNREADABLE.items():
                if is_a(module, *classes):
                    raise ValueError(f"backbone {type(module).__name__}: {reason}")
        raise ValueError(
            f"backbone {type(student).__name__}: AAL does not know how to read its attention; "
            f"known families: {'; '.join(sorted(NAMES))}. For your own ViT, set attention_layers "
            "to the names of its attention modules"
        )
    return reader


def image_size_of(student: nn.Module) -> tuple[int, int] | None:
    """(H, W) that a student was built for, or None if it accepts any."""
    reader = known_reader(student)
    size = reader.image_size if reader is not None else None
    size = size or getattr(student, "img_size", None)
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return height, width
