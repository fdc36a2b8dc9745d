"""Attention rollout (Abnar & Zuidema, ACL 2020): attention followed through all blocks.

# B batch, T tokens, M heads, D head channels, h w patch grid
"""

from __future__ import annotations

from functools import partial, reduce

import torch
from torch import Tensor, nn


class AttentionRollout:
    """Records the output of every block's `qkv` projection between `start` and `stop`.

    For students with a class token and one resolution. Unlike the maps that links read, rollout
    needs the whole T×T attention of every block.

    Raises:
        ValueError: the student has no class token, or its blocks have no `qkv` projection.
    """

    def __init__(self, student: nn.Module) -> None:
        self._blocks: list[nn.Module] = [
            module
            for module in student.modules()
            if isinstance(getattr(module, "qkv", None), nn.Linear) and hasattr(module, "num_heads")
        ]
        if not self._blocks or not any(_has_class_token(module) for module in student.modules()):
            raise ValueError(
                f"rollout: {type(student).__name__} has no class token or no qkv projections; "
                "choose a student of the ViT or DeiT family, or rollout=False"
            )
        self._recorded: dict[int, Tensor] = {}
        self._recording = False
        for index, block in enumerate(self._blocks):
            block.get_submodule("qkv").register_forward_hook(partial(self._record, index))

    def start(self) -> None:
        self._recorded, self._recording = {}, True

    def stop(self, grid: tuple[int, int]) -> Tensor:
        """Stop recording; the share of each patch in the last class token, (B, h, w).

        Raises:
            ValueError: a block did not call its qkv projection; blocks have different tokens.
        """
        self._recording = False
        recorded, self._recorded = self._recorded, {}
        if len(recorded) < len(self._blocks):
            raise ValueError(
                "rollout: some blocks did not call their qkv projection as a module; choose "
                "rollout=False"
            )
        tokens = sorted({qkv.shape[1] for qkv in recorded.values()})
        if len(tokens) > 1:
            raise ValueError(f"rollout: blocks have {tokens} tokens; expected one number of tokens")
        mixings = (_mixing(recorded[index], block) for index, block in enumerate(self._blocks))
        rolled = reduce(lambda before, mixing: mixing @ before, mixings)
        num_patches = grid[0] * grid[1]
        return rolled[:, 0, -num_patches:].unflatten(-1, grid)

    def _record(self, index: int, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if self._recording:
            self._recorded[index] = output


def _has_class_token(module: nn.Module) -> bool:
    return isinstance(getattr(module, "cls_token", None), Tensor)


def _mixing(qkv: Tensor, block: nn.Module) -> Tensor:
    """Half attention, half identity for the residual; (B, T, 3·M·D) → (B, T, T), rows sum to 1."""
    query, key, _ = qkv.float().unflatten(-1, (3, block.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key = (
        norm(heads) if isinstance(norm := getattr(block, name, None), nn.Module) else heads
        for name, heads in (("q_norm", query), ("k_norm", key))
    )
    scale = getattr(block, "scale", None)
    scale = scale if isinstance(scale, float) else query.shape[-1] ** -0.5
    attention = (scale * query @ key.transpose(-2, -1)).softmax(dim=-1).mean(dim=1)
    identity = torch.eye(attention.shape[-1], device=attention.device)
    return (attention + identity) / 2
