"""`AttentionLinkLoss`: the distance between a student's attention and a teacher's activations.

# B batch, C channels of a teacher level, h w map grid
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .losses.link_ranges import Links, link_ranges
from .losses.links import AttentionLinks
from .losses.map_grid import as_grid
from .student.attention_recorder import AttentionRecorder
from .student.by_name import AttentionLayers


class AttentionLinkLoss(nn.Module):
    """L_att of a student and a teacher, in any training loop (AAL, Eq. 4 and 5).

    It holds what the loss needs: a recorder of the student's attention, the trainable links, and
    the grid on which maps are compared. Its parameters are the links alone,
    `links.<level>.weight|bias`; the student is not one of its submodules.

    Call `start`, then the student, then this module. With DistributedDataParallel all three calls
    belong inside the forward pass of the wrapped module: `LinkedStudent` does that.

    Args:
        student: a ViT of a family in `aal_plugin.core.student.families`, or a module that
            contains one.
        channels: channels of each teacher level, such as `FrozenTeacher.channels`.
        links: 'full', 'alpha', 'beta', or one (first, last) pair of student blocks per teacher
            level, 1-based and inclusive; see `link_ranges`.
        map_size: side, or (h, w), of the grid on which maps are compared. Default: the student's
            patch grid, or 14×14 if its blocks have several grids. The distance is a mean over the
            pixels of maps of unit norm: with k times the pixels, k times λ weighs the same.
        antialias: smooth teacher maps before they are made smaller; the paper does not.
        attention_layers: names of the attention modules, for a student of no known family; see
            `reader_by_name`.

    Raises:
        ValueError: unknown student, unknown links, or a map size that is not a grid.

    Example:
        >>> import timm, torch
        >>> student = timm.create_model("test_vit").eval()  # 10×10 patches
        >>> link_loss = AttentionLinkLoss(student, channels=[8, 16], links="full")
        >>> link_loss.start((160, 160))
        >>> logits = student(torch.rand(1, 3, 160, 160))
        >>> link_loss([torch.rand(1, 8, 40, 40), torch.rand(1, 16, 20, 20)]).shape
        torch.Size([])
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
        self.map_size = as_grid(map_size)
        self.antialias = antialias
        self.recorder = AttentionRecorder(student, attention_layers)
        heads = self.recorder.heads
        ranges = link_ranges(links, len(channels), len(heads))
        # A random stream of their own: with one seed the student starts, and sees the batches,
        # that it would without AAL.
        with torch.random.fork_rng(devices=[]):
            self.links = AttentionLinks(ranges, heads, channels)

    def start(self, image_size: Sequence[int]) -> None:
        """Record the student's next forward pass, on images of (H, W) pixels."""
        height, width = image_size
        self.recorder.start((height, width))

    def discard(self) -> None:
        """Stop recording and forget what was recorded, after a forward pass that failed."""
        self.recorder.discard()

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        """Teacher maps of every level, (B, C, H, W) each → L_att, a scalar in float32 or wider.

        Raises:
            ValueError: the student did not run since `start`.
        """
        return self.links.distance(self.recorder.stop(), activations, self.map_size, self.antialias)

    def idle(self) -> Tensor:
        """A zero that reaches every link: for λ = 0, since DDP waits for all gradients."""
        zero = next(self.links.parameters()).new_zeros(())
        return zero + sum(0.0 * parameter.sum() for parameter in self.links.parameters())

    def topology(self) -> dict[str, list[Any]]:
        """What a reader of the links needs to know: `ranges` per level and `heads` per block."""
        return dict(ranges=self.links.ranges, heads=self.links.heads)

    def links_state(self) -> dict[str, Any]:
        """The links and their topology: the arguments of `analysis.link_strength`."""
        return dict(state_dict=self.links.state_dict(prefix="links."), **self.topology())

    def load_links_state(self, state: dict[str, Any], strict: bool = True) -> None:
        """Load a `links_state`.

        Raises:
            ValueError: the state is of another kind, or its links join other blocks, heads or
                channels.
        """
        check_links_state(state)
        weights = {name[len("links.") :]: tensor for name, tensor in state["state_dict"].items()}
        given = dict(ranges=state["ranges"], heads=state["heads"])
        given["channels"] = [tensor.shape[0] for tensor in weights.values() if tensor.dim() == 1]
        own = dict(self.topology(), channels=[link.out_channels for link in self.links])
        for key in own:
            if given[key] != own[key]:
                raise ValueError(
                    f"the checkpoint's links have {key} {given[key]}, this run's have {own[key]}; "
                    "choose the links, teacher and student that the checkpoint was trained with"
                )
        self.links.load_state_dict(weights, strict=strict)


def check_links_state(state: Any) -> None:
    """Raise ValueError unless `state` has the form of `AttentionLinkLoss.links_state`.

    Example:
        >>> check_links_state(dict(state_dict={}, ranges=[(1, 2)], heads=[3, 3]))
    """
    expected: dict[str, Any] = dict(state_dict=dict, ranges=(list, tuple), heads=(list, tuple))
    fits = isinstance(state, dict) and all(
        isinstance(state.get(key), kind) for key, kind in expected.items()
    )
    if not fits or not all(isinstance(tensor, Tensor) for tensor in state["state_dict"].values()):
        raise ValueError(
            "the checkpoint's task_state['links'] was not written by AttentionLinkTask: it needs "
            "state_dict, ranges and heads; was the file changed?"
        )
