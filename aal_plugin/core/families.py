"""The architecture families whose attention is known, one adapter each.

An adapter looks at a module and answers with its `Tapping`, or None where it is another family's.
What a module is, it tells by the classes that it and its blocks are made of: a home-grown
subclass is found too, and a subclass that computes its attention in another way is not taken.
"""

from __future__ import annotations

from typing import Callable, Dict, Optional, Tuple

from torch import nn

from .families_mmpretrain import mmpretrain_beit, mmpretrain_swin, mmpretrain_t2t, mmpretrain_vit
from .families_timm import timm_beit, timm_convit, timm_pit, timm_swin, timm_vit
from .tapping import Tapping

FAMILIES: Dict[str, Callable[[nn.Module], Optional[Tapping]]] = {
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


def known_tapping(student: nn.Module) -> Optional[Tapping]:
    """The tapping of the first module within the student that a family knows, or None."""
    for module in student.modules():
        for family in FAMILIES.values():
            tapping = family(module)
            if tapping is not None:
                return tapping
    return None


def find_tapping(student: nn.Module) -> Tapping:
    """As `known_tapping`.

    Raises:
        ValueError: no family knows any of the student's modules.
    """
    tapping = known_tapping(student)
    if tapping is None:
        raise ValueError(
            f"backbone {type(student).__name__} shows no attention that AAL can read; families "
            f"that do: {'; '.join(FAMILIES)}. For a ViT of your own, name its attention by taps=…"
        )
    return tapping


def image_size_of(student: nn.Module) -> Optional[Tuple[int, int]]:
    """(H, W) that a student was built for, or None where it takes any."""
    tapping = known_tapping(student)
    size = tapping.image_size if tapping is not None else getattr(student, "img_size", None)
    return (size, size) if isinstance(size, int) else size and tuple(size)
