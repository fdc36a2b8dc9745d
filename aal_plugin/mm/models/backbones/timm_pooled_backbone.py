"""`TIMMPooledBackbone`: a timm model that keeps its own pooling."""

from __future__ import annotations

from typing import Any

import timm
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import Tensor

Pooled = Tensor | tuple[Tensor, Tensor]


@MODELS.register_module()
class TIMMPooledBackbone(BaseBackbone):
    """A timm model whose output fits MMPretrain's classification heads.

    MMPretrain's TIMMBackbone, with the same parameters `timm_model.*`, switches a model's pooling
    off: a ViT then returns all its tokens, Swin returns (B, h, w, C), and PiT's distilled variants
    cannot be built. Here the output is (B, C), or for distilled variants the class token and the
    distillation token, (B, C) each, as `DeiTClsHead` expects them.

    Args:
        model_name, pretrained, checkpoint_path, **kwargs: of `timm.create_model`.
        in_channels: channels of the images.
    """

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint_path: str = "",
        in_channels: int = 3,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg)
        self.timm_model = timm.create_model(
            model_name,
            pretrained=pretrained,
            checkpoint_path=checkpoint_path,
            in_chans=in_channels,
            **kwargs,
        )
        # LeViT has a second head, but no second token.
        self._has_distillation_token = (
            getattr(self.timm_model, "dist_token", None) is not None
            or getattr(self.timm_model, "num_tokens", 1) == 2
        )
        self.timm_model.reset_classifier(0)
        # MMEngine's initialisation would undo timm's, pretrained or not.
        self._is_init = True

    def forward(self, images: Tensor) -> tuple[Pooled]:
        """Images (B, 3, H, W) → a tuple of one: (B, C), or ((B, C), (B, C)) if distilled."""
        features = self.timm_model.forward_features(images)
        if self._has_distillation_token:
            return ((features[:, 0], features[:, 1]),)
        return (self.timm_model.forward_head(features, pre_logits=True),)
