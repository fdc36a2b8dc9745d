"""A straightforward implementation of AAL: the reference for the benchmark.

# B batch, M heads, T tokens, C channels of all teacher levels, h w map grid
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aal_plugin.core import AttentionLinks, mean_link_distance


class StraightforwardTeacher:
    """A timm CNN with hooks on its stages; it runs whole, with its classifier."""

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        self.model = model.eval().requires_grad_(False)
        self._recorded: list[Tensor] = []
        for layer in layers:
            model.get_submodule(layer).register_forward_hook(
                lambda module, inputs, output: self._recorded.append(output)
            )

    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[Tensor]:
        self._recorded = []
        self.model(images)
        return self._recorded


@contextmanager
def full_attention(student: nn.Module) -> Iterator[list[Tensor]]:
    """Collect every block's whole attention matrix, (B, M, T, T) each.

    Turns fused attention off meanwhile, because it never builds the matrix.
    """
    recorded: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        recorded.append(output)

    attentions: list[Any] = [block.attn for block in student.get_submodule("blocks").children()]
    fused = [attention.fused_attn for attention in attentions]
    hooks = [attention.attn_drop.register_forward_hook(record) for attention in attentions]
    for attention in attentions:
        attention.fused_attn = False
    try:
        yield recorded
    finally:
        for attention, was, hook in zip(attentions, fused, hooks):
            attention.fused_attn = was
            hook.remove()


def straightforward_distance(
    links: AttentionLinks,
    attention: Sequence[Tensor],
    activations: Sequence[Tensor],
    grid: tuple[int, int],
    num_prefix_tokens: int,
) -> Tensor:
    """L_att, with all C augmented maps, teacher maps and normalised copies in memory.

    Args:
        attention: (B, M, T, T) of every block.
        activations: (B, C_level, H, W) of every level.
    """
    with torch.autocast(attention[0].device.type, enabled=False):
        maps = []
        for matrix in attention:
            row = matrix[:, :, 0, num_prefix_tokens:].float()
            maps.append((row / row.sum(-1, keepdim=True)).unflatten(-1, grid))
        stack = torch.cat(maps, dim=1)
        augmented = torch.cat(
            [
                link(stack[:, _heads(links, first, last)])
                for link, (first, last) in zip(links, links.ranges)
            ],
            dim=1,
        )
        resized = [
            F.interpolate(level.float(), size=grid, mode="bicubic", align_corners=False)
            for level in activations
        ]
        teacher = torch.cat(resized, dim=1)
        return F.mse_loss(
            F.normalize(augmented.flatten(2), dim=-1), F.normalize(teacher.flatten(2), dim=-1)
        )


def distance_of_maps(
    links: AttentionLinks, maps: list[Tensor], activations: list[Tensor]
) -> Tensor:
    """Eq. 4 and 5, written as in the paper."""
    grid = maps[0].shape[-2:]
    with torch.autocast(maps[0].device.type, enabled=False):
        resized = [
            level.float()
            if level.shape[-2:] == grid
            else F.interpolate(level.float(), size=grid, mode="bicubic", align_corners=False)
            for level in activations
        ]
        return mean_link_distance(links(maps), resized)


def _heads(links: AttentionLinks, first: int, last: int) -> slice:
    return slice(sum(links.heads[: first - 1]), sum(links.heads[:last]))
