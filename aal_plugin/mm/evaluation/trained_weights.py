"""Loads MMEngine's checkpoints, and puts their weights into a model."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from aal_plugin.mm.runs.as_data import load_as_data

Model = TypeVar("Model", bound=nn.Module)


def read_checkpoint(path: str) -> dict:
    """Load a checkpoint to the CPU.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is incomplete or is no checkpoint.
    """
    return load_as_data(path)


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
