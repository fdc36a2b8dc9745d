"""`TIMMPooledBackbone`: a timm model with the pooling that it was designed with."""

from __future__ import annotations

from typing import Any

import timm
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS
from torch import Tensor

Pooled = Tensor | tuple[Tensor, Tensor]


@MODELS.register_module()
class TIMMPooledBackbone(BaseBackbone):
    """A TIMMBackbone whose output MMPretrain's classification heads take as it is.

    TIMMBackbone switches a model's pooling off: a ViT then answers with all its tokens, Swin with
    (B, h, w, C), and PiT's distilled variants cannot be built. This one keeps the pooling, so
    its output is (B, C), or for distilled variants the class and the distillation token,
    (B, C) each, as MMPretrain's `DistilledVisionTransformer` has them for `DeiTClsHead`.

    Parameters are named as in TIMMBackbone: `timm_model.*`.

    Args:
        model_name: any name of `timm.list_models()`.
        pretrained: load timm's weights of that name.
        checkpoint_path: or a file of weights for it.
        in_channels: channels of the images.
        **kwargs: passed on to `timm.create_model`.
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
        # LeViT has a second head too, but no second token.
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
