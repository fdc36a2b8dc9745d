"""Links and guidance in a checkpoint of timm's trainer: how they are stored, what fits a run."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from aal_plugin.core import AttentionLinks
from aal_plugin.core.student_losses import Guidance

from .linked_student import TimmLinkedStudent

_logger = logging.getLogger(__name__)


def task_state(linked: TimmLinkedStudent) -> dict[str, Any]:
    """What a checkpoint holds beside the student: `links`, `guidance` or both."""
    state = {}
    if linked.link_loss is not None:
        state["links"] = links_state(linked.links)
    if linked.guidance is not None:
        weights = linked.guidance.state_dict()
        state["guidance"] = dict(state_dict=weights, pairs=linked.guidance.pairs)
    return state


def load_task_state(linked: TimmLinkedStudent, state: dict[str, Any], strict: bool = True) -> None:
    """Load a `task_state`; warns of a part that it lacks.

    Raises:
        ValueError: see `load_links_state`; or guidance of other blocks, levels or channels.
    """
    for name in linked.parts:
        if name not in state:
            _logger.warning(f"the checkpoint holds no {name} (task_state); new ones are trained")
    if "links" in linked.parts and "links" in state:
        load_links_state(linked.links, state["links"], strict)
    if linked.guidance is not None and "guidance" in state:
        _load_guidance(linked.guidance, state["guidance"], strict)


def _load_guidance(guidance: Guidance, state: dict[str, Any], strict: bool) -> None:
    shapes = [
        {name: list(tensor.shape) for name, tensor in weights.items()}
        for weights in (state["state_dict"], guidance.state_dict())
    ]
    theirs, own = ([tuple(pair) for pair in pairs] for pairs in (state["pairs"], guidance.pairs))
    if theirs != own or shapes[0] != shapes[1]:
        raise ValueError(
            f"the checkpoint's guidance has (block, level) pairs {theirs} of other sizes or blocks "
            f"than this run's {own}; choose the guidance, teacher and student that the checkpoint "
            "was trained with"
        )
    guidance.load_state_dict(state["state_dict"], strict=strict)


def links_state(links: AttentionLinks) -> dict[str, Any]:
    """The links and their topology: the arguments of `analysis.link_strength`."""
    weights = links.state_dict(prefix="links.")
    return dict(state_dict=weights, ranges=links.ranges, heads=links.heads)


def load_links_state(links: AttentionLinks, state: dict[str, Any], strict: bool = True) -> None:
    """Load a `links_state`.

    Raises:
        ValueError: the state is of another kind, or its links join other blocks, heads or
            channels.
    """
    _check_links_state(state)
    weights = {name[len("links.") :]: tensor for name, tensor in state["state_dict"].items()}
    given = {key: state[key] for key in ("ranges", "heads")}
    given["channels"] = [tensor.shape[0] for tensor in weights.values() if tensor.dim() == 1]
    own = dict(
        ranges=links.ranges, heads=links.heads, channels=[link.out_channels for link in links]
    )
    for key in own:
        if given[key] != own[key]:
            raise ValueError(
                f"the checkpoint's links have {key} {given[key]}, this run's have {own[key]}; "
                "choose the links, teacher and student that the checkpoint was trained with"
            )
    links.load_state_dict(weights, strict=strict)


def _check_links_state(state: Any) -> None:
    expected: dict[str, Any] = dict(state_dict=dict, ranges=(list, tuple), heads=(list, tuple))
    fits = isinstance(state, dict) and all(
        isinstance(state.get(key), kind) for key, kind in expected.items()
    )
    if not fits or not all(isinstance(tensor, Tensor) for tensor in state["state_dict"].values()):
        raise ValueError(
            "the checkpoint's task_state['links'] was not written by AttentionLinkTask: it needs "
            "state_dict, ranges and heads; was the file changed?"
        )
