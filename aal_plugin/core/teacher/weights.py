"""Where a teacher's weights come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

# What a model's weights and statistics are called in a checkpoint, where all are plain tensors.
_BOUNDED = ("running_mean", "running_var", "weight", "bias")


def check_weights(pretrained: bool, checkpoint: str | None, allow_random_weights: bool) -> None:
    """Raise ValueError unless a teacher's weights come from exactly one place."""
    if pretrained and checkpoint is not None:
        raise ValueError(
            f"teacher.pretrained=True and teacher.checkpoint={checkpoint!r} are two sources of "
            "weights; give one"
        )
    if not (pretrained or checkpoint is not None or allow_random_weights):
        raise ValueError(
            "the teacher has no weights and would regularise toward noise; give "
            "teacher.checkpoint=FILE or teacher.pretrained=True, or for a trial "
            "teacher.allow_random_weights=True"
        )


def check_finite(model: nn.Module, whose: str) -> None:
    """Raise ValueError where weights or statistics of a model hold NaN or infinity."""
    name = nonfinite_name(dict([*model.named_parameters(), *model.named_buffers()]))
    if name is not None:
        raise ValueError(
            f"{whose} has weights that are NaN or infinite, the first in {name!r}; give other "
            "weights"
        )


def nonfinite_name(tensors: dict[str, Tensor]) -> str | None:
    """The first of a model's tensors that holds NaN or infinity, or None."""
    for name, tensor in tensors.items():
        # A mask of a model may hold infinity by design.
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
    """Load a file's weights strictly, telling a missing, a broken and a foreign file apart.

    `classes_key` is the setting that tells a model's classes, for the error.
    """
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f"teacher.checkpoint={checkpoint!r}: no such file")
    try:
        state_dict = read(checkpoint)
    except Exception as error:  # torch, pickle and safetensors each have errors of their own
        raise ValueError(
            f"teacher.checkpoint={checkpoint!r} cannot be read; is it whole? ({error})"
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
    """Classes of a file and of a model, where nothing but their number sets the two apart."""
    own = model.state_dict()
    if own.keys() != state_dict.keys():
        return None
    shapes = [(tuple(state_dict[key].shape), tuple(own[key].shape)) for key in own]
    differing = [(given, wanted) for given, wanted in shapes if given != wanted]
    counts = {(given[:1], wanted[:1]) for given, wanted in differing}
    rest = all(given[1:] == wanted[1:] for given, wanted in differing)
    # A weight and its bias; two heads of a distilled model.
    if not rest or len(counts) != 1 or len(differing) > 4 or ((), ()) in counts:
        return None
    (given,), (wanted,) = counts.pop()
    return given, wanted


def _shortened(words: str, lines: int = 6) -> str:
    """The first lines of PyTorch's list of all that differs, each within reason."""
    given = words.splitlines()
    kept = [line if len(line) < 300 else line[:300] + " …" for line in given[:lines]]
    return "\n".join(kept + (["…"] if len(given) > lines else []))
