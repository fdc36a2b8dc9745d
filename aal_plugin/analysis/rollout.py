"""Attention rollout (Abnar & Zuidema, ACL 2020): attention followed through all blocks.

# B batch, T tokens, M heads, D head channels, h w patch grid
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn


class AttentionRollout:
    """Keeps what every block's `qkv` projection puts out, between `start` and `stop`.

    For students with a class token and one resolution: unlike the links' maps it needs the whole
    T×T attention of every block.

    Raises:
        ValueError: a student whose blocks show no `qkv` projection.
    """

    def __init__(self, student: nn.Module) -> None:
        self._blocks: list[nn.Module] = [
            module
            for module in student.modules()
            if isinstance(getattr(module, "qkv", None), nn.Linear) and hasattr(module, "num_heads")
        ]
        if not self._blocks or not any(_has_class_token(module) for module in student.modules()):
            raise ValueError(
                f"rollout: {type(student).__name__} has no class token or no qkv projections; it "
                "serves the ViT and DeiT families"
            )
        self._kept: dict[int, Tensor] = {}
        self._recording = False
        for index, block in enumerate(self._blocks):
            block.qkv.register_forward_hook(partial(self._keep, index))

    def start(self) -> None:
        """Begin to keep attention."""
        self._kept, self._recording = {}, True

    def stop(self, grid: tuple[int, int]) -> Tensor:
        """End it; how much of each patch the class token holds after the last block, (B, h, w)."""
        self._recording = False
        kept, self._kept = self._kept, {}
        if len(kept) < len(self._blocks):
            raise ValueError("rollout: the qkv projection of some blocks was not run as a module")
        tokens = sorted({qkv.shape[1] for qkv in kept.values()})
        if len(tokens) > 1:
            raise ValueError(f"rollout: blocks have {tokens} tokens; they must all have the same")
        rolled = None
        for index, block in enumerate(self._blocks):
            step = _mixing(kept[index], block)
            rolled = step if rolled is None else step @ rolled
        num_patches = grid[0] * grid[1]
        return rolled[:, 0, -num_patches:].unflatten(-1, grid)

    def _keep(self, index: int, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if self._recording:
            self._kept[index] = output


def _has_class_token(module: nn.Module) -> bool:
    return isinstance(getattr(module, "cls_token", None), Tensor)


def _mixing(qkv: Tensor, block: nn.Module) -> Tensor:
    """Half attention, half identity for the residual; (B, T, 3·M·D) → (B, T, T), rows sum to 1."""
    query, key, _ = qkv.float().unflatten(-1, (3, block.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key = (
        norm(heads) if isinstance(norm, nn.Module) else heads
        for norm, heads in (
            (getattr(block, "q_norm", None), query),
            (getattr(block, "k_norm", None), key),
        )
    )
    scale = getattr(block, "scale", None)
    scale = scale if isinstance(scale, float) else query.shape[-1] ** -0.5
    attention = (scale * query @ key.transpose(-2, -1)).softmax(dim=-1).mean(dim=1)
    identity = torch.eye(attention.shape[-1], device=attention.device)
    return (attention + identity) / 2
