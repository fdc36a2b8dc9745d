"""`MimeticViT`: a ViT whose attention starts as that of a trained ViT, without a teacher."""

from __future__ import annotations

from typing import Any

import torch
from mmpretrain.models import VisionTransformer
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MimeticViT(VisionTransformer):
    """MMPretrain's VisionTransformer with mimetic first weights; `arch` and the rest are the same.

    In every block, with Z of N(0, 1/C): W_Q W_Kᵀ ≈ 0.7 Z + 0.7 I for each head, as near as its rank
    allows, and W_V W_O ≈ 0.4 Z - 0.4 I. The position embedding starts sinusoidal.

    Source: A. Trockman and J. Z. Kolter, Mimetic Initialization of Self-Attention Layers, ICML
    2023, section 4.
    """

    @torch.no_grad()
    def init_weights(self) -> None:
        super().init_weights()
        if isinstance(self.init_cfg, dict) and self.init_cfg["type"] == "Pretrained":
            return
        for layer in self.layers:
            _start(layer.attn)
        if self.pos_embed is not None:
            height, width = self.patch_resolution
            table = build_2d_sincos_position_embedding(
                (height, width), self.embed_dims, cls_token=self.num_extra_tokens > 0
            )
            self.pos_embed.copy_(table)


def _start(attention: Any) -> None:
    """First weights of a block; its qkv.weight is (3C, C), its proj.weight (C, C)."""
    weight, width, size = attention.qkv.weight, attention.embed_dims, attention.head_dims
    for first in range(0, width, size):
        query, key = _factors(0.7 * _noise(width) + 0.7 * torch.eye(width), size)
        weight[first : first + size] = query.T
        weight[width + first : width + first + size] = key.T
    value, output = _factors(0.4 * _noise(width) - 0.4 * torch.eye(width), width)
    weight[2 * width :] = value.T
    attention.proj.weight.copy_(output)


def _noise(width: int) -> Tensor:
    return torch.randn(width, width) / width**0.5


def _factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A, B of (C, rank) each, with A Bᵀ as near to a (C, C) matrix as the rank allows."""
    left, sizes, right = torch.linalg.svd(product)
    scale = sizes[:rank].sqrt()
    return left[:, :rank] * scale, right[:rank].T * scale
