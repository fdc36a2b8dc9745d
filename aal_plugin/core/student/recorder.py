"""What to record of a module's call, the hook that does it, and whether the module is still there.

# B batch, C channels, h w grid
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

# A module of a library that gives its attributes no types.
Foreign = Any
# Chooses a value of a call: `select(args, kwargs, output)`.
Select = Callable[[tuple[Any, ...], dict[str, Any], Any], Any]


class Source(NamedTuple):
    """A module, and the value of its call to record."""

    module: nn.Module
    select: Select


def output_of(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """The output."""
    return output


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """The first positional argument."""
    return args[0]


def second_input(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """The second positional argument."""
    return args[1]


def keyword(name: str) -> Select:
    """The keyword argument of this name."""
    return partial(_keyword, name=name)


def constant(grid: tuple[int, int]) -> Select:
    """A fixed grid (h, w), of a student that is built for one image size."""
    return partial(_constant, grid=grid)


def output_grid(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> tuple[int, int]:
    """(h, w) of an output (B, C, h, w)."""
    return tuple(output.shape[-2:])


def input_grid(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> tuple[int, int]:
    """(h, w) of an input (B, h, w, C)."""
    return tuple(args[0].shape[1:3])


def second_output_grid(
    args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> tuple[int, int]:
    """(h, w), the second of two outputs.

    Raises:
        ValueError: it is None: the images of the batch have grids of their own.
    """
    if output[1] is None:
        raise ValueError(
            "the batch holds images with patch grids of their own (NaFlex mode); AAL needs one "
            "grid for all images: give the student a tensor (B, 3, H, W)"
        )
    height, width = output[1]
    return height, width


def _keyword(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, name: str) -> Any:
    return kwargs.get(name)


def _constant(args: Any, kwargs: Any, output: Any, grid: tuple[int, int]) -> tuple[int, int]:
    return grid


class Recorder:
    """Forward hook that stores `select(args, kwargs, output)` of a call between `start` and `stop`.

    There is one object for each module, and no index into a common list: `torch.compile` would
    specialise on the index, and compile the blocks of a student one by one.

    Args:
        module: gets the hook at once.
        select: the value to store, from the arguments and the output of a call.
        attention: the attention module that AAL trains through the value; it is an error if the
            value has no gradient while this module trains.
        block: the number of its block, for the error.

    Raises:
        ValueError: during the forward pass, if the value lacks the gradient that it needs.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 3)
        >>> recorder = Recorder(layer, lambda args, kwargs, output: output.shape)
        >>> recorder.start()
        >>> _ = layer(torch.rand(4, 2))
        >>> recorder.stop()
        torch.Size([4, 3])
    """

    def __init__(
        self,
        module: nn.Module,
        select: Select,
        attention: nn.Module | None = None,
        block: int = 0,
    ) -> None:
        self._select = select
        self._attention = attention
        self._block = block
        self._recording = False
        self._value: Any = None
        module.register_forward_hook(self, with_kwargs=True)

    def start(self) -> None:
        """Start to record, and forget the last value."""
        self._value = None
        self._recording = True

    def stop(self) -> Any:
        """Stop recording and return the last value, or None if the module did not run."""
        self._recording = False
        value, self._value = self._value, None
        return value

    def __call__(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        # rest: kwargs and output; quantisation moves hooks to its own modules without kwargs.
        if not self._recording:
            return
        value = self._select(args, rest[0], rest[-1])
        attention = self._attention
        if (
            attention is not None
            and attention.training
            and not value.requires_grad
            and not torch.is_grad_enabled()  # if it is, nothing before this value trains
            and any(parameter.requires_grad for parameter in attention.parameters())
        ):
            raise ValueError(
                f"block {self._block} ran without gradients, so AAL could not reach the student: "
                "checkpoint its activations with use_reentrant=False, or do not checkpoint them. "
                "with_cp=True of a backbone has no such option: set with_cp=False there; "
                "MMPretrain's RevVisionTransformer needs no_custom_backward=True"
            )
        self._value = value


# The attributes in which torch's own wrappers hold a module: its hooks still see the same calls.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


class Recorders:
    """The recorders of a student's modules, which start and stop together.

    LoRA, quantisation, fusion and SyncBatchNorm put another module where one was. A hook stays on
    the old module, which then computes something else, or is not called: `start` looks.

    Args:
        student: the model that contains the modules.
        recorders: of its modules.
        modules: further modules that have to stay where they are.
    """

    def __init__(
        self, student: nn.Module, recorders: Iterable[Recorder], modules: Iterable[nn.Module]
    ) -> None:
        self._all = list(recorders)
        names = {module: name for name, module in student.named_modules()}
        # Every step of the path to such a module: its name, its owner, its own name, what is there.
        self._steps: dict[str, tuple[nn.Module, str, nn.Module]] = {}
        for module in dict.fromkeys(modules):
            path, found = "", student
            for part in filter(None, names[module].split(".")):
                path = f"{path}.{part}".lstrip(".")
                owner, found = found, getattr(found, part)
                self._steps[path] = (owner, part, found)

    def start(self) -> None:
        """Start to record.

        Raises:
            ValueError: a module was replaced; it is named.
        """
        for path, (owner, part, module) in self._steps.items():
            found = owner._modules.get(part)
            if found is module or _unwrapped(found) is _unwrapped(module):
                continue
            now = "missing" if found is None else f"a {_class_of(found)}"
            raise ValueError(
                f"the student's {path!r} is {now} now, not the {_class_of(module)} that "
                "AAL records: link after LoRA. Replace modules first (LoRA, quantisation, fusion, "
                "SyncBatchNorm), then create LinkedStudent, AttentionRecorder or FeatureRecorder"
            )
        for recorder in self._all:
            recorder.start()

    def stop(self) -> dict[Recorder, Any]:
        """Stop recording and return the last value of each recorder, or None."""
        return {recorder: recorder.stop() for recorder in self._all}


def _unwrapped(module: nn.Module | None) -> nn.Module | None:
    for name in _WRAPPERS:
        if module is not None and name in module._modules:
            return _unwrapped(module._modules[name])
    return module


def _class_of(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
