"""A student of MMPretrain as the timm model that computes the same logits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import timm
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from aal_plugin.mm.evaluation.trained_weights import load_strictly

from .images import check_same_logits

# A model's name, the arguments of timm.create_model, and the backbone's weights by timm's names.
_Parts = tuple[str, dict[str, Any], dict[str, Tensor]]
# MMPretrain's VisionTransformer -> timm's.
_VIT_NAMES = (
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"^layers\.(\d+)\.ln(\d)\.", r"blocks.\1.norm\2."),
    (r"^layers\.(\d+)\.attn\.", r"blocks.\1.attn."),
    (r"^layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"^layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    (r"^ln1\.", "norm."),
)
# Arguments of a timm backbone in MMPretrain that timm.create_model does not have.
_NOT_TIMMS = {"type", "model_name", "in_channels", "features_only"}
_DEIT = {(192, 12, 3): "tiny", (384, 12, 6): "small", (768, 12, 12): "base"}


def timm_student(
    student: ImageClassifier, backbone: dict[str, Any], images: Tensor
) -> tuple[str, dict[str, Any], nn.Module]:
    """Convert a student to timm. The logits are compared before it returns.

    Args:
        backbone: the student's in its config, without weights to start from.
        images: on which they are compared.

    Returns:
        (name, arguments, model): `timm.create_model(name, **arguments)` with the weights.

    Raises:
        ValueError: no timm model computes the same logits.
    """
    kind = type(student.backbone).__name__
    if kind not in _CONVERSIONS:
        raise ValueError(
            f"model.backbone.type={kind!r} has no equal in timm; choose one of {list(_CONVERSIONS)}"
            ", or export with format 'mmpretrain', 'safetensors' or 'onnx'"
        )
    name, arguments, weights = _CONVERSIONS[kind](student.backbone, backbone)
    linears = [part for part in student.head.modules() if isinstance(part, nn.Linear)]
    arguments["num_classes"] = linears[-1].out_features
    model = timm.create_model(name, **arguments)
    classifiers = model.pretrained_cfg["classifier"]
    classifiers = (classifiers,) if isinstance(classifiers, str) else classifiers
    if len(linears) != len(classifiers):
        raise ValueError(
            f"model.head ({type(student.head).__name__}) has {len(linears)} linear layers, but "
            f"timm's {name!r} has {len(classifiers)} ({', '.join(classifiers)}); choose a "
            "head of the same form, or another format"
        )
    for classifier, linear in zip(classifiers, linears):
        weights |= {f"{classifier}.{key}": value for key, value in linear.state_dict().items()}
    try:
        load_strictly(model, weights, "student")
    except ValueError as error:
        raise ValueError(
            f"model.backbone ({kind}) differs from timm's {name!r}: {error}; choose another format"
        ) from error
    check_same_logits(student, model, images, f"timm's {name!r}")
    return name, arguments, model


def _wrapped(backbone: Any, settings: dict[str, Any]) -> _Parts:
    """TIMMPooledBackbone and MMPretrain's TIMMBackbone: a timm model without its classifier."""
    arguments = {key: value for key, value in settings.items() if key not in _NOT_TIMMS}
    if settings.get("in_channels", 3) != 3:
        arguments["in_chans"] = settings["in_channels"]
    return settings["model_name"], arguments, dict(backbone.timm_model.state_dict())


def _vit(backbone: Any, settings: dict[str, Any]) -> _Parts:
    """MMPretrain's VisionTransformer and DistilledVisionTransformer: timm's DeiT."""
    layer, projection = backbone.layers[0], backbone.patch_embed.projection
    size = (backbone.embed_dims, backbone.num_layers, layer.attn.num_heads)
    token = "_distilled" if hasattr(backbone, "dist_token") else ""
    name = f"deit_{_DEIT.get(size, 'small')}{token}_patch16_224"
    arguments = dict(
        img_size=tuple(backbone.img_size),
        patch_size=projection.kernel_size[0],
        in_chans=projection.in_channels,
        qkv_bias=layer.attn.qkv.bias is not None,
    )
    if size not in _DEIT:
        hidden = layer.ffn.layers[0][0].out_features
        arguments.update(zip(("embed_dim", "depth", "num_heads"), size))
        arguments["mlp_ratio"] = hidden / size[0]
    weights = {}
    for key, value in backbone.state_dict().items():
        for pattern, new in _VIT_NAMES:
            key = re.sub(pattern, new, key)
        weights[key] = value
    return name, arguments, weights


_CONVERSIONS: dict[str, Callable[[Any, dict[str, Any]], _Parts]] = {
    "TIMMPooledBackbone": _wrapped,
    "TIMMBackbone": _wrapped,
    "VisionTransformer": _vit,
    "DistilledVisionTransformer": _vit,
}
