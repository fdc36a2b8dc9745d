"""Reads MMEngine's checkpoints: weights, averaged or raw, and links."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from aal_plugin.analysis.links import find_links
from aal_plugin.analysis.saved_links import SavedLinks, checked_links, links_of_task
from aal_plugin.mm.runs.as_data import load_as_data

Model = TypeVar("Model", bound=nn.Module)


def read_checkpoint(path: str) -> dict:
    """Load a checkpoint to the CPU.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is incomplete or is no checkpoint.
    """
    return load_as_data(path)


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
        return links_of_task(saved, ema, path)
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
    return SavedLinks(weights, *checked_links(linked, weights, path))


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
