"""Reads MMEngine's checkpoints: weights, averaged or raw, and links."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from aal_plugin.analysis.links import find_links
from aal_plugin.core.losses.link_ranges import Range
from aal_plugin.mm.runtime.launch import check_checkpoint

Model = TypeVar("Model", bound=nn.Module)

_MOST = 4096  # upper limit of blocks, heads of a block and levels in a file


class SavedLinks(NamedTuple):
    """The links of a checkpoint; the arguments of `aal_plugin.analysis.link_strength`."""

    state_dict: dict[str, Tensor]
    ranges: list[Range]
    heads: list[int]


def read_checkpoint(path: str) -> dict:
    """Load a checkpoint to the CPU.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is incomplete or is no checkpoint.
    """
    check_checkpoint(path)
    return CheckpointLoader.load_checkpoint(path, map_location="cpu", logger="silent")


def read_links(path: str, ema: bool = False) -> SavedLinks:
    """Read the links of an MMEngine or timm checkpoint without building its model.

    Args:
        ema: read the average of EMAHook or of timm's --model-ema, not the raw links.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the checkpoint has no links, or does not say which blocks they link.
    """
    saved = read_checkpoint(path)
    if isinstance(saved.get("task_state"), dict):
        return _timms(saved, ema, path)
    links = find_links(saved_weights(saved, ema, path) if "state_dict" in saved else saved)
    if not links:
        raise ValueError(
            f"checkpoint {path!r} has no attention links: it was trained without AAL, or is an "
            "exported student"
        )
    linked = saved.get("meta", {}).get("attention_links")
    if linked is None:
        raise ValueError(
            f"checkpoint {path!r} has links, but no meta['attention_links'] with the blocks that "
            "they link; train with LambdaDecayHook or LinkHeatmapHook, which save it"
        )
    weights = {f"links.{level}.weight": weight for level, weight in links.items()}
    return SavedLinks(weights, *_checked(linked, weights, path))


def _timms(saved: dict, ema: bool, path: str) -> SavedLinks:
    """The links that AttentionLinkTask saved in the `task_state` of a timm checkpoint."""
    key = "task_state_ema" if ema else "task_state"
    if ema and not isinstance(saved.get(key), dict):
        raise ValueError(f"--ema: checkpoint {path!r} has no averaged links of --model-ema")
    linked = saved[key].get("links")
    weights = linked.get("state_dict") if isinstance(linked, dict) else None
    if not isinstance(weights, dict) or not find_links(weights):
        raise ValueError(f"checkpoint {path!r} has no attention links: it was trained without AAL")
    weights = {f"links.{level}.weight": weight for level, weight in find_links(weights).items()}
    return SavedLinks(weights, *_checked(linked, weights, path, f"{key}['links']"))


def _checked(
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


def saved_weights(saved: dict, ema: bool, name: str) -> dict[str, Tensor]:
    """The model's state dict in a checkpoint; with `ema` the average of EMAHook.

    Raises:
        ValueError: `ema` is set, but the checkpoint has no average.
    """
    # EMAHook swaps on saving: 'state_dict' has the averaged weights, 'ema_state_dict' the raw.
    # KeptEMAHook does not swap, and marks its checkpoints with meta['raw_state_dict'].
    if "ema_state_dict" not in saved:
        if ema:
            raise ValueError(f"--ema: checkpoint {name!r} has no averaged weights of EMAHook")
        return saved["state_dict"]
    if ema != bool(saved.get("meta", {}).get("raw_state_dict")):
        return saved["state_dict"]
    prefix = "module."
    other = saved["ema_state_dict"].items()
    return {key[len(prefix) :]: value for key, value in other if key.startswith(prefix)}


def load_strictly(model: Model, state_dict: dict[str, Tensor], name: str) -> Model:
    """Load every tensor and set the model to eval mode.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape; names the first one.
    """
    own = model.state_dict()
    misfits = [
        f"{key} is {_shape(state_dict, key)} in the file and {_shape(own, key)} in the model"
        for key in dict.fromkeys([*own, *state_dict])
        if _shape(state_dict, key) != _shape(own, key)
    ]
    if misfits:
        more = f", and {len(misfits) - 1} more" if len(misfits) > 1 else ""
        raise ValueError(f"checkpoint {name!r} does not fit the config: {misfits[0]}{more}")
    model.load_state_dict(state_dict)
    return model.eval()


def _shape(state_dict: dict[str, Tensor], key: str) -> object:
    return tuple(state_dict[key].shape) if key in state_dict else "missing"
