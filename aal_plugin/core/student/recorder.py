"""`Recorder`: stores one value of a module's call while recording; `Places`: is it still there?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

Select = Callable[[tuple[Any, ...], dict[str, Any], Any], Any]


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


class Places:
    """Where a student has the modules that AAL records, to notice that they were replaced.

    LoRA, quantisation, fusion and SyncBatchNorm put another module where one was. A hook stays on
    the old module, which then computes something else, or is not called.

    Args:
        student: the model that contains the modules.
        modules: modules that are recorded.

    Example:
        >>> student = nn.Sequential(nn.Linear(2, 3))
        >>> places = Places(student, [student[0]])
        >>> student[0] = nn.Bilinear(2, 2, 3)
        >>> try:
        ...     places.check()
        ... except ValueError as error:
        ...     print(str(error)[:62])
        the student's '0' is a torch.nn.modules.linear.Bilinear now, n
    """

    def __init__(self, student: nn.Module, modules: Iterable[nn.Module]) -> None:
        names = {module: name for name, module in student.named_modules()}
        self._student = student
        self._modules = [
            ([part for part in names[module].split(".") if part and part not in _WRAPPERS], module)
            for module in dict.fromkeys(modules)
        ]

    def check(self) -> None:
        """Check that every module is where it was.

        Raises:
            ValueError: one was replaced; it is named.
        """
        for path, module in self._modules:
            found: nn.Module | None = self._student
            for part in path:
                found = None if found is None else _unwrapped(found)._modules.get(part)
            if found is not None and _unwrapped(found) is _unwrapped(module):
                continue
            now = "missing" if found is None else f"a {_class_of(found)}"
            raise ValueError(
                f"the student's {'.'.join(path)!r} is {now} now, not the {_class_of(module)} that "
                "AAL records: link after LoRA. Replace modules first (LoRA, quantisation, fusion, "
                "SyncBatchNorm), then create LinkedStudent, AttentionRecorder or FeatureRecorder"
            )


def _unwrapped(module: nn.Module) -> nn.Module:
    for name in _WRAPPERS:
        if name in module._modules:
            return _unwrapped(module._modules[name])  # type: ignore[arg-type]
    return module


def _class_of(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
