"""Weights of teachers that MMEngine reads: files, and MMPretrain's model zoo."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from aal_plugin.core.teacher.weights import fit_weights
from aal_plugin.mm.runs.as_data import load_as_data

# What a file may call its weights: MMEngine and timm, PyTorch's examples and torchvision, others.
_KEYS = ("state_dict", "model", "model_state_dict")
_STATISTICS = ("running_mean", "running_var")


def read_weights(checkpoint: str, prefix: str = "") -> dict[str, Tensor]:
    """The weights of a .pth or .safetensors file or URL: a state dict or a dict that contains one.

    Args:
        prefix: only the weights whose names begin with it, without it: 'backbone.' of a detector.

    Raises:
        ValueError: no weights with that prefix.
    """
    saved: Any = load_as_data(checkpoint)
    for key in _KEYS:
        if isinstance(saved, dict) and isinstance(saved.get(key), dict):
            saved = saved[key]
            break
    weights = {re.sub(r"^module\.", "", name): tensor for name, tensor in saved.items()}
    inside = {
        name[len(prefix) :]: tensor for name, tensor in weights.items() if name.startswith(prefix)
    }
    if not inside:
        starts = sorted({name.split(".")[0] + "." for name in weights})
        raise ValueError(f"no weight begins with checkpoint_prefix={prefix!r}; they begin {starts}")
    return inside


def load_published(model: nn.Module, url: str | None, whose: str) -> None:
    """Load the weights that MMPretrain publishes at a URL for a model, `whose` name errors tell.

    The file may contain more than the model; every weight and statistic of the model must be in it.

    Raises:
        ValueError: no such weights (None), no network, or weights that do not fit.
    """
    if url is None:
        raise ValueError(
            f"teacher.checkpoint=True: MMPretrain publishes no weights for {whose!r}; give "
            "teacher.checkpoint=FILE"
        )
    try:
        weights = read_weights(url)
    except OSError as error:  # URLError and its subclasses
        error.__cause__ = error.__context__ = None
        raise ValueError(
            f"teacher.checkpoint=True: MMPretrain's weights for {whose!r} could not be downloaded "
            f"from {url}; give teacher.checkpoint=FILE, or use a machine with a network"
        ) from error.with_traceback(None)
    # Buffers that a model computes by itself may be missing.
    computed = {n for n, _ in model.named_buffers() if not n.endswith(_STATISTICS)}
    state = model.state_dict().items()
    own = {n: weights.get(n, t) for n, t in state if n in weights or n in computed}
    words = f"teacher.checkpoint=True: the weights at {url} do not fit {whose!r}"
    fit_weights(model, own, words)
