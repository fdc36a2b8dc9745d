"""Where a teacher's weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Dict, Optional

from torch import Tensor, nn


def check_weights(pretrained: bool, checkpoint: Optional[str], allow_random_weights: bool) -> None:
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


def load_weights(
    model: nn.Module, checkpoint: str, read: Callable[[str], Dict[str, Tensor]]
) -> None:
    """Load a file's weights strictly, telling a missing, a broken and a foreign file apart."""
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f"teacher.checkpoint={checkpoint!r}: no such file")
    try:
        state_dict = read(checkpoint)
    except Exception as error:  # torch, pickle and safetensors each have errors of their own
        raise ValueError(
            f"teacher.checkpoint={checkpoint!r} cannot be read; is it whole? ({error})"
        ) from error
    try:
        model.load_state_dict(state_dict)
    except RuntimeError as error:
        raise ValueError(
            f"teacher.checkpoint={checkpoint!r} does not fit the teacher: {error}"
        ) from error
