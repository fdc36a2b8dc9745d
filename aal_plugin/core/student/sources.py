"""Sources: which value of a module's call to record.

# B batch, C channels, h w grid
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from torch import nn

from .recorder import Select

# A module of a library that gives its attributes no types.
Foreign = Any


class Source(NamedTuple):
    """A module, and the value of its call to record: `select(args, kwargs, output)`.

    Example:
        >>> Source(nn.Linear(2, 3), output_of).module
        Linear(in_features=2, out_features=3, bias=True)
    """

    module: nn.Module
    select: Select


def output_of(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """The output.

    Example:
        >>> output_of((1,), {}, 2)
        2
    """
    return output


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """The first positional argument.

    Example:
        >>> first_input((1,), {}, 2)
        1
    """
    return args[0]


def second_input(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """The second positional argument.

    Example:
        >>> second_input((1, 3), {}, 2)
        3
    """
    return args[1]


def keyword(name: str) -> Select:
    """Select the keyword argument of this name.

    Example:
        >>> keyword("rope")((1,), {"rope": 3}, 2)
        3
    """
    return partial(_keyword, name=name)


def _keyword(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, name: str) -> Any:
    return kwargs.get(name)


def output_grid(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> tuple[int, int]:
    """(h, w) of an output (B, C, h, w).

    Example:
        >>> import torch
        >>> output_grid((), {}, torch.rand(1, 8, 2, 3))
        (2, 3)
    """
    height, width = output.shape[-2:]
    return height, width


def input_grid(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> tuple[int, int]:
    """(h, w) of an input (B, h, w, C).

    Example:
        >>> import torch
        >>> input_grid((torch.rand(1, 2, 3, 8),), {}, None)
        (2, 3)
    """
    height, width = args[0].shape[1:3]
    return height, width


def second_output_grid(
    args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> tuple[int, int]:
    """(h, w), the second of two outputs.

    Raises:
        ValueError: it is None: the images of the batch have grids of their own.

    Example:
        >>> second_output_grid((), {}, (None, (2, 3)))
        (2, 3)
    """
    if output[1] is None:
        raise ValueError(
            "the batch holds images with patch grids of their own (NaFlex mode); AAL needs one "
            "grid for all images: give the student a tensor (B, 3, H, W)"
        )
    height, width = output[1]
    return height, width


def constant(value: tuple[int, int]) -> Select:
    """Select a fixed grid (h, w), of a student that is built for one image size.

    Example:
        >>> constant((2, 3))((), {}, None)
        (2, 3)
    """
    return partial(_constant, value=value)


def _constant(
    args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, value: tuple[int, int]
) -> tuple[int, int]:
    return value
