"""Batch norms folded into the convolutions before them, for a network that only infers."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_PLAIN = (nn.BatchNorm2d, nn.SyncBatchNorm)


def fold_batch_norms(model: nn.Module, run: Callable[[], list[Tensor]]) -> int:
    """Scale the weights of convolutions so that the batch norms after them can go.

    A norm is folded when it is the only operation that reads what one convolution puts out; in
    eval mode its output is the same to rounding. It leaves an identity, or its activation
    function, under its name, so that dotted names below and beside it stay valid.

    Args:
        model: in eval mode.
        run: infers with the model on some images and answers with every tensor that somebody
            will look at: a convolution whose output is among them keeps its norm.

    Returns:
        How many norms were folded.
    """
    watch = _Source(model)
    with torch.no_grad(), watch:
        for tensor in run():
            watch.readers[_memory(tensor)] += 1
    pairs = watch.pairs()
    parents = {id(child): parent for parent in model.modules() for child in parent.children()}
    for conv, norm in pairs:
        _scale(conv, norm)
        parent = parents[id(norm)]
        for name, child in parent.named_children():
            if child is norm:
                setattr(parent, name, _without_norm(norm))
    return len(pairs)


class _Source(TorchDispatchMode):
    """Notes during a forward pass which convolution feeds which norm, and who else reads it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.readers: Counter = Counter()  # operations by the memory that they read
        self._fed: dict[int, nn.Conv2d] = {}
        self._calls: Counter = Counter()
        self._pairs: list[tuple[nn.Conv2d, nn.Module, int]] = []
        self._alive: list[Tensor] = []  # so that nothing younger gets their memory
        self._hooks = [
            hook
            for module in model.modules()
            if _foldable_conv(module) or _foldable_norm(module)
            for hook in (
                module.register_forward_pre_hook(self._before),
                module.register_forward_hook(self._after),
            )
        ]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        for leaf in tree_leaves((args, kwargs or {})):
            if isinstance(leaf, Tensor):
                self.readers[_memory(leaf)] += 1
        return func(*args, **(kwargs or {}))

    def __exit__(self, *exception: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*exception)

    def pairs(self) -> list[tuple[nn.Conv2d, nn.Module]]:
        """Every convolution and norm that ran once, the norm being its only reader."""
        return [
            (conv, norm)
            for conv, norm, memory in self._pairs
            if self._calls[conv] == self._calls[norm] == 1 and self.readers[memory] == 1
        ]

    def _before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        conv = self._fed.get(_memory(inputs[0]))
        if isinstance(module, _BatchNorm) and conv is not None:
            self._pairs.append((conv, module, _memory(inputs[0])))

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._calls[module] += 1
        if isinstance(module, nn.Conv2d):
            self._fed[_memory(output)] = module
            self.readers[_memory(output)] = 0  # it may be the memory of something older
            self._alive.append(output)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _foldable_conv(module: nn.Module) -> bool:
    """Whether its output is linear in a weight of its own; a standardised weight is not."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module).__module__.startswith(("torch.nn.modules.conv", "timm.layers.conv2d_same"))
        and "weight" in module._parameters
    )


def _foldable_norm(module: nn.Module) -> bool:
    known = type(module) in _PLAIN or type(module).__name__ == "BatchNormAct2d"
    return known and module.running_var is not None


def _without_norm(norm: nn.Module) -> nn.Module:
    """What is left of it: timm's BatchNormAct2d holds a dropout and an activation function."""
    plain = type(norm) in _PLAIN
    rest = nn.Identity() if plain else nn.Sequential(OrderedDict(norm.named_children()))
    rest._forward_hooks.update(norm._forward_hooks)  # a norm may be recorded
    return rest.train(norm.training)


@torch.no_grad()
def _scale(conv: nn.Conv2d, norm: nn.Module) -> None:
    # float64: the product is rounded once.
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    if conv.bias is not None:
        shift = shift + conv.bias * scale
    weight = (conv.weight.double() * scale.view(-1, 1, 1, 1)).to(conv.weight)
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.bias = nn.Parameter(shift.to(weight), requires_grad=False)
