"""Folds batch norms into the convolutions before them, for a network that only infers."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

_PLAIN = (nn.BatchNorm2d, nn.SyncBatchNorm)


def fold_batch_norms(model: nn.Module, run: Callable[[], list[Tensor]]) -> int:
    """Scale convolutions so that the batch norms after them can be removed; how many were.

    A norm is folded if it is the only operation that reads the output of one convolution; in eval
    mode the result is equal up to rounding. An identity, or the norm's activation function, takes
    its place and name, so that all dotted names stay valid.

    Args:
        model: in eval mode; it is changed.
        run: infers with the model on some images and returns every tensor that is used
            afterwards: a convolution whose output is among them keeps its norm.
    """
    source = _Source(model)
    with torch.no_grad(), source:
        for tensor in run():
            source.readers[_memory(tensor)] += 1
    pairs = source.pairs()
    parents = {id(child): parent for parent in model.modules() for child in parent.children()}
    for conv, norm in pairs:
        _scale(conv, norm)
        parent = parents[id(norm)]
        for name, child in parent.named_children():
            if child is norm:
                setattr(parent, name, _without_norm(norm))
    return len(pairs)


class _Source(TorchDispatchMode):
    """Records which convolution feeds which norm, and what else reads it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.readers: Counter[int] = Counter()  # operations by the memory that they read
        self._fed: dict[int, nn.Conv2d] = {}
        self._calls: Counter[nn.Module] = Counter()
        self._pairs: list[tuple[nn.Conv2d, nn.Module, int]] = []
        self._alive: list[Tensor] = []  # so that no later tensor reuses their memory
        found = [m for m in model.modules() if _foldable_conv(m) or _foldable_norm(m)]
        self._hooks = [m.register_forward_pre_hook(self._before) for m in found]
        self._hooks += [m.register_forward_hook(self._after) for m in found]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for leaf in tree_flatten((args, kwargs or {}))[0]:
            if isinstance(leaf, Tensor):
                self.readers[_memory(leaf)] += 1
        return func(*args, **(kwargs or {}))

    def __exit__(self, *exception: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*exception)

    def pairs(self) -> list[tuple[nn.Conv2d, nn.Module]]:
        """Each convolution and norm that ran once, if the norm is the only reader."""
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
            self.readers[_memory(output)] = 0  # the memory may have been an older tensor's
            self._alive.append(output)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _foldable_conv(module: nn.Module) -> bool:
    """Whether its output is linear in its own weight; a standardised weight is not."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module).__module__.startswith(("torch.nn.modules.conv", "timm.layers.conv2d_same"))
        and "weight" in module._parameters
    )


def _foldable_norm(module: nn.Module) -> bool:
    known = type(module) in _PLAIN or type(module).__name__ == "BatchNormAct2d"
    return known and module.running_var is not None


def _without_norm(norm: nn.Module) -> nn.Module:
    """What remains of a norm: timm's BatchNormAct2d contains dropout and an activation."""
    plain = type(norm) in _PLAIN
    rest = nn.Identity() if plain else nn.Sequential(OrderedDict(norm.named_children()))
    rest._forward_hooks.update(norm._forward_hooks)  # a norm may be recorded
    return rest.train(norm.training)


@torch.no_grad()
def _scale(conv: nn.Conv2d, norm: Any) -> None:
    def wide(tensor: Tensor | None) -> Tensor | None:  # float64: the product is rounded once
        return None if tensor is None else tensor.double()

    given = (conv.weight, conv.bias, norm.running_mean, norm.running_var)
    scaled: Any = fuse_conv_bn_weights
    fused = scaled(*map(wide, given), norm.eps, wide(norm.weight), wide(norm.bias))
    conv.weight, conv.bias = (
        nn.Parameter(tensor.to(conv.weight), requires_grad=False) for tensor in fused
    )
