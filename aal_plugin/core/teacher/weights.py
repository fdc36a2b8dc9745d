"""Checks and loads a teacher's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from aal_plugin.process import searched_in

# The names of weights and statistics in a checkpoint, where all are plain tensors.
_BOUNDED = ("running_mean", "running_var", "weight", "bias")


def check_weights(pretrained: bool, checkpoint: str | None, allow_random_weights: bool) -> None:
    """Raise ValueError unless weights come from one source, or none are allowed."""
    if pretrained and checkpoint is not None:
        raise ValueError(
            f"teacher.pretrained=True and teacher.checkpoint={checkpoint!r} are two sources of "
            "weights; give one"
        )
    if not (pretrained or checkpoint is not None or allow_random_weights):
        raise ValueError(
            "the teacher has no weights and would teach noise; give teacher.checkpoint=FILE or "
            "teacher.pretrained=True, or for a trial teacher.allow_random_weights=True"
        )


def check_finite(model: nn.Module, whose: str) -> None:
    """Raise ValueError if weights or statistics of the model `whose` contain NaN or infinity."""
    name = nonfinite_name(dict([*model.named_parameters(), *model.named_buffers()]))
    if name is not None:
        raise ValueError(
            f"{whose} has weights that are NaN or infinite, the first in {name!r}; give other "
            "weights"
        )


def nonfinite_name(tensors: dict[str, Tensor]) -> str | None:
    """The first of a model's parameters and buffers with NaN or infinity, by its name, or None.

    Example:
        >>> import torch
        >>> nonfinite_name({"fc.weight": torch.ones(2), "fc.bias": torch.tensor([float("nan")])})
        'fc.bias'
    """
    for name, tensor in tensors.items():
        # A model's mask may contain infinity by design.
        bounded = isinstance(tensor, nn.Parameter) or name.endswith(_BOUNDED)
        if not tensor.is_floating_point() or tensor.is_meta:
            continue
        if tensor.isnan().any() or (bounded and tensor.isinf().any()):
            return name
    return None


def load_weights(
    model: nn.Module,
    checkpoint: str,
    read: Callable[[str], dict[str, Tensor]],
    classes_key: str = "teacher.num_classes",
) -> None:
    """Load a file's weights strictly; a missing, a broken and a foreign file differ in the error.

    Args:
        model: receives the weights.
        checkpoint: the file.
        read: returns the state dict of a file.
        classes_key: the config key of the model's number of classes, for the error message.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read, or its weights do not fit the model.
    """
    given = f"teacher.checkpoint={checkpoint!r}"
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f"{given}: no such file{searched_in(checkpoint)}")
    try:
        state_dict = read(checkpoint)
    except Exception as error:  # torch, pickle and safetensors each have errors of their own
        raise ValueError(f"{given} cannot be read; it may be incomplete ({error})") from error
    classes = _classes(model, state_dict)
    if classes is not None:
        raise ValueError(
            f"{given} does not fit the teacher: its classifier has {classes[0]} classes, and the "
            f"teacher's {classes[1]}; give {classes_key}={classes[0]}"
        )
    fit_weights(model, state_dict, f"{given} does not fit the teacher")


def fit_weights(model: nn.Module, state_dict: dict[str, Tensor], words: str) -> None:
    """Load weights strictly; the ValueError begins with `words`, and is no page long."""
    try:
        model.load_state_dict(state_dict)
    except RuntimeError as error:
        lines = [line if len(line) < 300 else line[:300] + " …" for line in str(error).splitlines()]
        rest = ["…"] if len(lines) > 6 else []
        raise ValueError(f"{words}: " + "\n".join(lines[:6] + rest)) from error


def _classes(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[int, int] | None:
    """Classes of a file and of a model, if they differ in nothing else."""
    own = model.state_dict()
    if own.keys() != state_dict.keys():
        return None
    shapes = [(tuple(state_dict[key].shape), tuple(own[key].shape)) for key in own]
    differing = [(given, wanted) for given, wanted in shapes if given != wanted]
    if not all(given and wanted and given[1:] == wanted[1:] for given, wanted in differing):
        return None
    counts = {(given[0], wanted[0]) for given, wanted in differing}
    # A weight and its bias; two heads of a distilled model.
    return counts.pop() if len(counts) == 1 and len(differing) <= 4 else None
