"""The links in a checkpoint of timm's trainer: how they are stored, and what fits this run."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from aal_plugin.core import AttentionLinks


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
