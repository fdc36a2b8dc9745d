"""Checks and loads a teacher's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from aal_plugin.process import searched_in

# The names of weights and statistics in a checkpoint, where all are plain tensors.
_BOUNDED = ("running_mean", "running_var", "weight", "bias")


def check_weights(pretrained: bool, checkpoint: str | None, allow_random_weights: bool) -> None:
    """Raise ValueError unless weights come from one source: a library's, a file, or none allowed.

    Example:
        >>> check_weights(pretrained=False, checkpoint="teacher.pth", allow_random_weights=False)
    """
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
    """Raise ValueError if weights or statistics of the model `whose` contain NaN or infinity.

    Example:
        >>> check_finite(nn.Linear(2, 2), "teacher")
    """
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

    Example:
        >>> load_weights(nn.Linear(2, 2), "/nowhere.pth", read=lambda file: {})
        Traceback (most recent call last):
        FileNotFoundError: teacher.checkpoint='/nowhere.pth': no such file
    """
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(
            f"teacher.checkpoint={checkpoint!r}: no such file{searched_in(checkpoint)}"
        )
    try:
        state_dict = read(checkpoint)
    except Exception as error:  # torch, pickle and safetensors each have errors of their own
        raise ValueError(
            f"teacher.checkpoint={checkpoint!r} cannot be read; it may be incomplete ({error})"
        ) from error
    classes = _classes(model, state_dict)
    if classes is not None:
        raise ValueError(
            f"teacher.checkpoint={checkpoint!r} does not fit the teacher: its classifier has "
            f"{classes[0]} classes, and the teacher's {classes[1]}; give "
            f"{classes_key}={classes[0]}"
        )
    try:
        model.load_state_dict(state_dict)
    except RuntimeError as error:
        raise ValueError(
            f"teacher.checkpoint={checkpoint!r} does not fit the teacher: {_shortened(str(error))}"
        ) from error


def _classes(model: nn.Module, state_dict: dict[str, Tensor]) -> tuple[int, int] | None:
    """Classes of a file and of a model, if they differ in nothing else."""
    own = model.state_dict()
    if own.keys() != state_dict.keys():
        return None
    shapes = [(tuple(state_dict[key].shape), tuple(own[key].shape)) for key in own]
    differing = [(given, wanted) for given, wanted in shapes if given != wanted]
    counts = {(given[:1], wanted[:1]) for given, wanted in differing}
    rest = all(given[1:] == wanted[1:] for given, wanted in differing)
    # A weight and its bias; two heads of a distilled model.
    if not rest or len(counts) != 1 or len(differing) > 4 or () in next(iter(counts)):
        return None
    (given,), (wanted,) = counts.pop()
    return given, wanted


def _shortened(words: str, lines: int = 6) -> str:
    """The first lines of PyTorch's list of differences, each shortened."""
    given = words.splitlines()
    kept = [line if len(line) < 300 else line[:300] + " …" for line in given[:lines]]
    return "\n".join(kept + (["…"] if len(given) > lines else []))
