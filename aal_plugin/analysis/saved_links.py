"""The links in a loaded checkpoint, checked against the blocks that it says they link."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from aal_plugin.core.losses.links import Range

from .links import find_links

_MOST = 4096  # upper limit of blocks, heads of a block and levels in a file


class SavedLinks(NamedTuple):
    """The links of a checkpoint; the arguments of `aal_plugin.analysis.link_strength`."""

    state_dict: dict[str, Tensor]
    ranges: list[Range]
    heads: list[int]


def links_of_task(saved: dict, ema: bool, path: str) -> SavedLinks:
    """The links that AttentionLinkTask saved in the `task_state` of a timm checkpoint.

    Args:
        saved: the loaded checkpoint.
        ema: the average of timm's --model-ema, not the raw links.
        path: its name in the errors.

    Raises:
        ValueError: the checkpoint has no links, or has no average of them.
    """
    key = "task_state_ema" if ema else "task_state"
    state = saved.get(key)
    if ema and not isinstance(state, dict):
        raise ValueError(f"--ema: checkpoint {path!r} has no averaged links of --model-ema")
    linked = state.get("links") if isinstance(state, dict) else None
    weights = linked.get("state_dict") if isinstance(linked, dict) else None
    if not isinstance(weights, dict) or not find_links(weights):
        raise ValueError(f"checkpoint {path!r} has no attention links: it was trained without AAL")
    weights = {f"links.{level}.weight": weight for level, weight in find_links(weights).items()}
    return SavedLinks(weights, *checked_links(linked, weights, path, f"{key}['links']"))


def checked_links(
    linked: Any, weights: dict[str, Tensor], path: str, key: str = "meta['attention_links']"
) -> tuple[list[Range], list[int]]:
    """The ranges and heads of a file, checked against its links.

    Raises:
        ValueError: a value has the wrong type, or does not match the size of the links.
    """
    try:
        heads = [_whole(count) for count in linked["heads"][:_MOST]]
        ranges = [(_whole(first), _whole(last)) for first, last in linked["ranges"][:_MOST]]
        fits = len(ranges) == len(weights) and all(
            1 <= first <= last <= len(heads)
            and isinstance(weight, Tensor)
            and weight.dim() == 4
            and weight.shape[1] == sum(heads[first - 1 : last])
            for (first, last), weight in zip(ranges, weights.values())
        )
    except (TypeError, KeyError, ValueError, IndexError):
        fits = False
    if not fits:
        raise ValueError(
            f"checkpoint {path!r}: {key} does not describe the links in the file; was the file "
            "changed?"
        )
    return ranges, heads


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST:
        raise ValueError(value)
    return value
