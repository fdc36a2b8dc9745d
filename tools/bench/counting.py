"""Counts the work that a function gives a device: operations, arithmetic and bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from .setting import Setting
from .straightforward import distance_of_maps
from .timed_steps import TimedSteps


class Counts(NamedTuple):
    """Work of a function run eagerly: each operation reads its inputs, writes its outputs."""

    operations: int  # kernels; views do not count
    flops: int  # of products and convolutions; a multiply-add counts as two
    bytes: int  # read from and written to memory


def count(function: Callable[[], object]) -> Counts:
    """The work of one call.

    Example:
        >>> import torch
        >>> a = torch.ones(2, 3)
        >>> count(lambda: a @ a.T).flops
        24
    """
    flops = FlopCounterMode(display=False)
    moved = _Moved()
    with flops, moved:
        function()
    return Counts(moved.operations, flops.get_total_flops(), moved.bytes)


def counts(setting: Setting) -> dict[str, Counts]:
    """Operations, flops and bytes of the parts of AAL's step at the setting's batch.

    Counted eagerly at batches of one and two, and extrapolated: the counts are linear in batch.
    """
    one, two = (_counts_at(replace(setting, batch=batch, compile=False)) for batch in (1, 2))
    return {
        name: Counts(*(a + (b - a) * (setting.batch - 1) for a, b in zip(one[name], two[name])))
        for name in one
    }


def _counts_at(setting: Setting) -> dict[str, Counts]:
    made = TimedSteps(setting)
    rows = {
        "student step": made.plain(),
        "teacher forward": made.teacher(),
        "teacher forward: timm's own": made.peers_teacher(),
        "links and distance": made.links_alone(),
        "links and distance: all maps in memory": made.links_alone(distance_of_maps),
    }
    for step in rows.values():  # the first step also allocates gradients and optimizer state
        step()
    return {name: count(step) for name, step in rows.items()}


class _Moved(TorchDispatchMode):
    operations = 0
    bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        written = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if not (func.is_view or func in _FREE):
            self.operations += 1
            if func is torch.ops.aten.index.Tensor:
                read = written  # it reads only the elements that it returns
            self.bytes += sum(_memory(tensor) for tensor in read + written)
        return out


# These start no kernel, or allocate memory that the next operation writes.
_FREE = {
    torch.ops.aten.empty.memory_format,
    torch.ops.aten.empty_like.default,
    torch.ops.aten.new_empty.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.new_empty_strided.default,
    torch.ops.aten._unsafe_view.default,
    torch.ops.prim.device.default,
}


def _memory(tensor: Tensor) -> int:
    """Bytes of memory behind a tensor; an expanded tensor is read once."""
    elements = 1
    for length, stride in zip(tensor.shape, tensor.stride()):
        elements *= length if stride else 1
    return elements * tensor.element_size()
