"""Reads the links of a checkpoint file, of MMEngine or timm, without the packages that wrote it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from aal_plugin.checkpoint_file import check_checkpoint
from aal_plugin.core.losses.links import Range
from aal_plugin.data_only import data_only

from .links import find_links

_MOST = 4096  # upper limit of blocks, heads of a block and levels in a file
# What else such files hold, none of which is needed here: logs, options, NumPy's numbers.
_IGNORED = (
    "argparse.Namespace",
    "builtins.getattr",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
)


class SavedLinks(NamedTuple):
    """The links of a checkpoint; the arguments of `aal_plugin.analysis.link_strength`."""

    state_dict: dict[str, Tensor]
    ranges: list[Range]
    heads: list[int]


def read_links(path: str, ema: bool = False) -> SavedLinks:
    """Read the links of a checkpoint without building its model; no code in the file is run.

    Args:
        path: the file.
        ema: read the average of EMAHook or of timm's --model-ema, not the raw links.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the file is no checkpoint, has no links, or does not say which blocks they link.
    """
    saved = load_as_data(path)
    if isinstance(saved.get("task_state"), dict):  # of timm
        key = "task_state_ema" if ema else "task_state"
        state, where = saved.get(key), f"{key}['links']"
        if not isinstance(state, dict):
            raise ValueError(f"--ema: checkpoint {path!r} has no averaged links of --model-ema")
        linked = state.get("links")
        weights = linked.get("state_dict") if isinstance(linked, dict) else None
    else:
        weights = saved_weights(saved, ema, path) if "state_dict" in saved else saved
        meta, where = saved.get("meta"), "meta['attention_links']"
        linked = meta.get("attention_links") if isinstance(meta, dict) else None
    links = find_links(weights) if isinstance(weights, dict) else {}
    if not links:
        raise ValueError(
            f"checkpoint {path!r} has no attention links: it was trained without AAL, or is an "
            "exported student"
        )
    if linked is None:
        raise ValueError(
            f"checkpoint {path!r} has links, but no {where} with the blocks that they link; train "
            "with LambdaDecayHook or LinkHeatmapHook, which save it"
        )
    named = {f"links.{level}.weight": links[level] for level in sorted(links)}
    try:
        return SavedLinks(named, *_checked(linked, list(named.values())))
    except (TypeError, KeyError, ValueError, IndexError):
        raise ValueError(
            f"checkpoint {path!r}: {where} does not describe the links in the file; was the file "
            "changed?"
        ) from None


def load_as_data(path: str) -> dict[str, Any]:
    """Load a checkpoint to the CPU: tensors and plain values, and stand-ins for all other objects.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the file is damaged, is no checkpoint, or holds code.
    """
    check_checkpoint(path)
    try:
        with data_only([(_Ignored, name) for name in _IGNORED]):
            saved = torch.load(path, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(
            f"checkpoint {path!r} cannot be read: it is damaged, or holds more than weights and "
            "plain data"
        ) from error
    return saved if isinstance(saved, dict) else {}


def saved_weights(saved: dict[str, Any], ema: bool, name: str) -> dict[str, Tensor]:
    """The model's state dict in a checkpoint of MMEngine; with `ema` the average of EMAHook.

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


class _Ignored:
    """Stands for any other object of a file: takes its place, and does nothing."""

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _checked(linked: Any, weights: list[Any]) -> tuple[list[Range], list[int]]:
    """Ranges and heads as a file gives them; raises unless they fit its links."""
    heads = [_whole(count) for count in linked["heads"][:_MOST]]
    ranges = [(_whole(first), _whole(last)) for first, last in linked["ranges"][:_MOST]]
    fits = len(ranges) == len(weights) and all(
        1 <= first <= last <= len(heads)
        and isinstance(weight, Tensor)
        and weight.dim() == 4
        and weight.shape[1] == sum(heads[first - 1 : last])
        for (first, last), weight in zip(ranges, weights)
    )
    if not fits:
        raise ValueError
    return ranges, heads


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST:
        raise ValueError
    return value
