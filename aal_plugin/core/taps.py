"""Where each architecture family exposes its attention.

A family is one function that looks at a module and answers with its `Tapping`, or None. Nothing
in the student changes: the output of each block's `qkv` projection is kept during the forward
pass that runs anyway, and the maps are computed from it afterwards. So fused attention stays on,
and blocks under gradient checkpointing recompute exactly what they would without a tap.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from torch import Tensor, nn

from .attention import qkv_class_token_attention

Grid = Tuple[int, int]


class Tap(NamedTuple):
    """One block: the module whose output is kept, and how maps are read from that output."""

    module: nn.Module
    num_heads: int
    read: Callable[[Tensor, Grid], Tensor]  # kept output, patch grid (h, w) → (B, M, h, w)


class Tapping(NamedTuple):
    """What a family exposes: a tap for each block, and the convolution that makes the patches."""

    blocks: List[Tap]
    patch_conv: nn.Conv2d
    image_size: Optional[Tuple[int, int]]


def mmpretrain_vit(module: nn.Module) -> Optional[Tapping]:
    """MMPretrain's VisionTransformer and DistilledVisionTransformer, with their class token."""
    if not _is_a(module, "mmpretrain.models.backbones.vision_transformer.VisionTransformer"):
        return None
    if module.cls_token is None:
        return None
    attentions = [layer.attn for layer in module.layers]
    known = "mmpretrain.models.utils.attention.MultiheadAttention"
    if not all(_is_a(attn, known) for attn in attentions):
        return None
    blocks = [
        _qkv_tap(attn, module.num_extra_tokens, scale=attn.head_dims**-0.5) for attn in attentions
    ]
    return Tapping(blocks, module.patch_embed.projection, tuple(module.img_size))


def timm_vit(module: nn.Module) -> Optional[Tapping]:
    """timm's VisionTransformer family with a class token: ViT, DeiT, DeiT-III, registers."""
    if not _is_a(module, "timm.models.vision_transformer.VisionTransformer"):
        return None
    if module.cls_token is None:
        return None
    attentions = [getattr(block, "attn", None) for block in module.blocks]
    known = ("timm.layers.attention.Attention", "timm.models.vision_transformer.Attention")
    if not all(_is_a(attn, *known) for attn in attentions):
        return None
    blocks = [
        _qkv_tap(
            attn,
            module.num_prefix_tokens,
            scale=attn.scale,
            query_norm=attn.q_norm,
            key_norm=attn.k_norm,
        )
        for attn in attentions
    ]
    # A dynamic image size is not checked ahead of the images.
    fixed = None if module.patch_embed.dynamic_img_pad else module.patch_embed.img_size
    return Tapping(blocks, module.patch_embed.proj, fixed)


FAMILIES: Dict[str, Callable[[nn.Module], Optional[Tapping]]] = {
    "MMPretrain VisionTransformer and DistilledVisionTransformer": mmpretrain_vit,
    "timm VisionTransformer (ViT, DeiT, DeiT-III) with a class token": timm_vit,
}


class AttentionTaps:
    """Keeps a student's attention during its forward pass.

    Install before `torch.compile`, since hooks added later are ignored. Between `start` and
    `stop` the taps keep references to tensors that the forward pass makes anyway; at all other
    times they do nothing. A deep copy of the student together with its taps (an EMA copy) has
    taps of its own.

    Args:
        student: a module of a known family, or one that contains such a module.

    Attributes:
        heads: heads of each block.
        image_size: (H, W) that the student was built for, or None where it takes any.

    Raises:
        ValueError: no known family; the patch does not divide the student's image size.
    """

    def __init__(self, student: nn.Module) -> None:
        tapping = _find_tapping(student)
        self.heads = [tap.num_heads for tap in tapping.blocks]
        self._readers = [tap.read for tap in tapping.blocks]
        self.image_size = tapping.image_size
        self._patch = tapping.patch_conv
        self._kept: Dict[Any, Tensor] = {}
        self._recording = False
        if self.image_size is not None:
            self._check_divides(self.image_size)
        for index, tap in enumerate(tapping.blocks):
            tap.module.register_forward_hook(partial(self._keep, index))
        self._patch.register_forward_hook(partial(self._keep, "patches"))

    def start(self, image_size: Tuple[int, int]) -> None:
        """Begin to keep attention, for a forward pass on images of (H, W) pixels."""
        self._check_divides(image_size)
        self._kept = {}
        self._recording = True

    def stop(self) -> List[Tensor]:
        """End it, and answer with every block's maps, (B, M, h, w) each (AAL, Eq. 3)."""
        self._recording = False
        kept, self._kept = self._kept, {}
        missed = [index + 1 for index in range(len(self._readers)) if index not in kept]
        if missed:
            raise ValueError(f"no attention was seen from the student's blocks {missed}")
        grid = tuple(kept["patches"].shape[-2:])
        return [read(kept[index], grid) for index, read in enumerate(self._readers)]

    def _keep(self, key: Any, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if not self._recording:
            return
        wanted = module.training and module.weight.requires_grad
        if isinstance(key, int) and wanted and not output.requires_grad:
            raise ValueError(
                f"block {key + 1} ran without gradients, so AAL could not reach the student: "
                "checkpoint its activations with use_reentrant=False"
            )
        self._kept[key] = output

    def _check_divides(self, image_size: Tuple[int, int]) -> None:
        (height, width), (patch_h, patch_w) = image_size, self._patch.kernel_size
        if self._patch.stride == self._patch.kernel_size and (height % patch_h or width % patch_w):
            raise ValueError(
                f"images of {height}×{width} pixels: the student's patch of {patch_h}×{patch_w} "
                "does not divide them, and attention and activation maps would not line up; "
                f"choose multiples, such as {_nearest(height, patch_h)}×{_nearest(width, patch_w)}"
            )


def _find_tapping(student: nn.Module) -> Tapping:
    for module in student.modules():
        for family in FAMILIES.values():
            tapping = family(module)
            if tapping is not None:
                return tapping
    raise ValueError(
        f"backbone {type(student).__name__} shows no attention that AAL can read; "
        "families that do: " + "; ".join(FAMILIES)
    )


def _qkv_tap(attn: nn.Module, num_prefix_tokens: int, scale: float, **norms: nn.Module) -> Tap:
    read = partial(
        qkv_class_token_attention,
        num_heads=attn.num_heads,
        num_prefix_tokens=num_prefix_tokens,
        scale=scale,
        **norms,
    )
    return Tap(attn.qkv, attn.num_heads, read)


def _is_a(module: Any, *class_paths: str) -> bool:
    """Whether a class of that dotted path is among the module's, without importing its package."""
    return any(f"{c.__module__}.{c.__qualname__}" in class_paths for c in type(module).__mro__)


def _nearest(length: int, patch: int) -> int:
    return max(1, round(length / patch)) * patch
