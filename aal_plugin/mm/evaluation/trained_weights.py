"""Whether a checkpoint's weights fit a model."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def misfits(own: dict[str, Tensor], given: dict[str, Tensor]) -> list[str]:
    """The tensors of a file that a model lacks, or has in another shape, and those it misses."""
    return [
        f"{key} is {_shape(given, key)} in the file and {_shape(own, key)} in the model"
        for key in dict.fromkeys([*own, *given])
        if _shape(given, key) != _shape(own, key)
    ]


def load_strictly(model: Model, state_dict: dict[str, Tensor], name: str) -> Model:
    """Load every tensor and set the model to eval mode.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape; names the first one.
    """
    found = misfits(model.state_dict(), state_dict)
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise ValueError(f"checkpoint {name!r} does not fit the config: {found[0]}{more}")
    model.load_state_dict(state_dict)
    return model.eval()


def _shape(tensors: dict[str, Tensor], key: str) -> object:
    return tuple(tensors[key].shape) if key in tensors else "missing"
