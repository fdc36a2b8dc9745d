"""`LinkedStudent`: the one module that the optimizer, DDP, EMA and `torch.compile` see.

# B batch, M heads of a block, C channels of a teacher level, h w map grid
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.models import group_parameters
from torch import Tensor, nn

from aal_plugin.core import AttentionLinks, AttentionRecorder, link_ranges
from aal_plugin.core.losses.links import Links, as_grid
from aal_plugin.core.student.by_name import AttentionLayers


class LinkedStudent(nn.Module):
    """A student and its links to a teacher of the given channels.

    Every trainable part runs inside this module's forward pass, as DDP asks. The student keeps
    its own names under `student.`, the links are `links.<level>.weight|bias`.

    Args:
        student: a ViT of a family in `aal_plugin.core.student.families`.
        channels: channels of each teacher level.
        links: see `link_ranges`.
        map_size: side, or (h, w), of the grid on which maps are compared; by default the
            student's patch grid, or 14 where its blocks have several.
        antialias: smooth teacher maps before they are made smaller.
        attention_layers: names of the attention modules, for a student of no known family; see
            `reader_by_name`.

    Raises:
        ValueError: no known student; unknown links; a map size that is no grid.
    """

    def __init__(
        self,
        student: nn.Module,
        channels: Sequence[int],
        links: Links = "full",
        map_size: int | Sequence[int] | None = None,
        antialias: bool = False,
        attention_layers: AttentionLayers | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.recorder = AttentionRecorder(student, attention_layers)
        heads = self.recorder.heads
        # A stream of random numbers of its own: the batches, and the dropout, of a run are those
        # of the same seed without AAL.
        with torch.random.fork_rng(devices=[]):
            self.links = AttentionLinks(
                link_ranges(links, len(channels), len(heads)), heads, channels
            )
        self.map_size = as_grid(map_size)
        self.antialias = antialias

    def forward(
        self, images: Tensor, activations: list[Tensor] | None = None
    ) -> tuple[Any, Tensor]:
        """Images (B, 3, H, W) → the student's output, and L_att (AAL, Eq. 5).

        Args:
            activations: teacher maps of every level, (B, C, h, w) each. None stands for λ = 0:
                attention is not looked at, and the zero in the place of L_att still reaches the
                links, since DDP waits for a gradient of everything.
        """
        if activations is None:
            return self.student(images), sum(0.0 * p.sum() for p in self.links.parameters())
        self.recorder.start(images.shape[-2:])
        output = self.student(images)
        maps = [block.to(self.links[0].weight.dtype) for block in self.recorder.stop()]
        return output, self.links.distance(maps, activations, self.map_size, self.antialias)

    def links_state(self) -> dict[str, Any]:
        """The links, and how to read them: what `analysis.link_strength` takes."""
        return dict(state_dict=self.links.state_dict(prefix="links."), **self._topology())

    def load_links_state(self, state: dict[str, Any], strict: bool = True) -> None:
        """Load what `links_state` gave.

        Raises:
            ValueError: what was given is of another kind, or these links join other blocks, heads
                or channels.
        """
        _check_kinds(state)
        weights = {name[len("links.") :]: tensor for name, tensor in state["state_dict"].items()}
        given = dict(ranges=state["ranges"], heads=state["heads"])
        given["channels"] = [tensor.shape[0] for tensor in weights.values() if tensor.dim() == 1]
        own = dict(self._topology(), channels=[link.out_channels for link in self.links])
        for key in own:
            if given[key] != own[key]:
                raise ValueError(
                    f"the checkpoint's links have {key} {given[key]}, this task's have {own[key]}; "
                    "choose the links, teacher and student that the checkpoint was trained with"
                )
        self.links.load_state_dict(weights, strict=strict)

    def _topology(self) -> dict[str, list]:
        return dict(ranges=self.links.ranges, heads=self.links.heads)

    def no_weight_decay(self) -> set[str]:
        """The student's own, by its names in this module."""
        names = getattr(self.student, "no_weight_decay", set)()
        return {f"student.{name}" for name in names}

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int] | dict:
        """The student's layers; the links belong to the last, as its head does."""
        if not hasattr(self.student, "group_matcher"):
            return {}
        matcher = self.student.group_matcher(coarse=coarse)
        layers = group_parameters(self.student, matcher, reverse=True)
        last = max(layers.values())
        layers = {f"student.{name}": layer for name, layer in layers.items()}
        return lambda name: layers.get(name, last)


def _check_kinds(state: Any) -> None:
    """Raise ValueError unless links of a checkpoint are what `links_state` gives."""
    wanted = dict(state_dict=dict, ranges=(list, tuple), heads=(list, tuple))
    fits = isinstance(state, dict) and all(isinstance(state.get(k), v) for k, v in wanted.items())
    if not fits or not all(isinstance(tensor, Tensor) for tensor in state["state_dict"].values()):
        raise ValueError(
            "the checkpoint's task_state['links'] is none of AttentionLinkTask's: it needs "
            "state_dict, ranges and heads; was it changed?"
        )
