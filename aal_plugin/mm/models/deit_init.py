"""`DeiTInit`: draws a ViT's first weights as DeiT's published code does."""

from __future__ import annotations

from typing import Any

from mmengine.model.weight_init import trunc_normal_, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

TOKENS = ("cls_token", "dist_token", "pos_embed")


@WEIGHT_INITIALIZERS.register_module()
class DeiTInit:
    """Linear layers, tokens and position embedding from a normal of std 0.02, cut at ±2; biases 0.

    For `model.init_cfg` with MMPretrain's VisionTransformer, which otherwise starts with Xavier
    weights in the MLPs and zeros in class token and classifier. The patch embedding keeps
    PyTorch's own first weights.
    """

    def __call__(self, module: nn.Module) -> None:
        part: Any
        for part in module.modules():
            if isinstance(part, nn.Linear):
                trunc_normal_(part.weight, std=0.02)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            for name in TOKENS:
                if isinstance(getattr(part, name, None), nn.Parameter):
                    trunc_normal_(getattr(part, name), std=0.02)
            part._is_init = True  # otherwise MMPretrain's own weights would overwrite these
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info="Initialized by DeiTInit")
        owner: Any = module
        owner._is_init = False  # the caller sets it
