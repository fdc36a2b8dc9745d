"""Whether a reading of attention is what a block puts on its values, found by trying it out.

# B batch, T tokens, M heads, D head channels, N patch tokens, h w patch grid (N = h*w)

An attention module of a class that nobody told us about may rotate its queries, add a position
bias, mix its heads or scale its logits, and its names need not say so. A copy of the student, with
noise on all parameters (a bias that starts at zero would hide), runs on random images. What the
modules multiply their values with is intercepted, and held against what each reading makes of it.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .maps import attention_received
from .readers import BlockReader

_IMAGES = 2
# float32 on both sides; readings that leave something out are off by far more.
_TOLERANCE = 1e-3
# What a plain attention module has, and what a reading takes into account.
_PLAIN = {"qkv", "q_norm", "k_norm", "attn_drop", "proj", "proj_drop", "norm", "gate", "softmax"}
_PLAIN |= {"gamma1", "out_drop"}  # MMPretrain's


def noisy_copy(student: nn.Module) -> nn.Module:
    """A copy in float32 and eval mode, no parameter at its neutral start."""
    twin = copy.deepcopy(student).float().requires_grad_(False)
    twin.eval()  # MMPretrain's backbones answer None
    generator = torch.Generator().manual_seed(0)
    for module in twin.modules():
        weighs = isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
        for parameter in module.parameters(recurse=False):
            std = 0.5 * parameter[0].numel() ** -0.5 if weighs and parameter.dim() > 1 else 0.3
            noise = torch.randn(parameter.shape, generator=generator) * std
            parameter.add_(noise.to(parameter.device))
    return twin


def first_right(
    twin: nn.Module, names: Sequence[str], readings: Sequence[list[BlockReader]], class_token: bool
) -> list[int]:
    """Which of the readings of each attention module is right, by number.

    Args:
        twin: a `noisy_copy`.
        names: of its attention modules, for the error.
        readings: the readers that could read each of them, the best first.
        class_token: whether they read a class token's row.

    Raises:
        ValueError: none is right; what is not understood is named.
    """
    seen = _run(twin, readings)
    if seen is None:
        warnings.warn(
            "attention_layers: the student does not run on images of any common size, so AAL could "
            f"not check that it reads the attention of {names[0]!r}",
            stacklevel=2,
        )
        return [0] * len(names)
    return [
        _right(name, readers, class_token, products, kept)
        for name, readers, products, kept in zip(names, readings, *seen)
    ]


def _right(
    name: str,
    readers: list[BlockReader],
    class_token: bool,
    products: list[Tensor],
    kept: dict[int, Any],
) -> int:
    attn = readers[0].attention
    who = f"attention_layers: {name!r} ({type(attn).__name__})"
    if not products:
        warnings.warn(
            f"{who} multiplies no weights with values that AAL can see, so AAL could not check "
            "how it computes its attention",
            stacklevel=3,
        )
        return 0
    grids = [grid for _, grid in kept.values() if grid is not None]
    tokens = grids[0][0] * grids[0][1] + readers[0].num_prefix_tokens if grids else None
    sides = {weights.shape[-1] for weights in products}
    whole = [w for w in products if w.numel() == _IMAGES * attn.num_heads * w.shape[-1] ** 2]
    whole = [w for w in whole if w.shape[-1] == tokens]
    if not whole:
        raise ValueError(
            f"{who} weighs {_words(sides)} values at a time, not all {tokens} tokens "
            f"(num_prefix_tokens={readers[0].num_prefix_tokens} and the patches of the grid); AAL "
            "reads attention of every token to every token alone"
        )
    weights = whole[-1].reshape(_IMAGES, attn.num_heads, tokens, tokens)
    rows = weights.sum(-1)
    if weights.min() < -_TOLERANCE or (rows - 1).abs().max() > _TOLERANCE:
        raise ValueError(
            f"{who} weighs its values with something else than a softmax: rows sum to "
            f"{rows.min():.2f}…{rows.max():.2f}; AAL does not understand {_unknown(attn)}"
        )
    for number, reader in enumerate(readers):
        given, grid = kept[number]
        if given is None or grid is None:
            continue
        wanted = attention_received(weights, grid, reader.num_prefix_tokens, class_token)
        try:
            got = reader.read(given, grid)
        except (RuntimeError, ValueError):
            continue
        if got.shape == wanted.shape and (got - wanted).abs().max() < _TOLERANCE * wanted.max():
            return number
    fused = getattr(attn, "fused_attn", False) and hasattr(attn, "attn_drop")
    raise ValueError(
        f"{who} computes its attention otherwise than by the softmax of queries times keys of its "
        f"qkv; AAL does not understand {_unknown(attn)}"
        + (
            "; without fused attention (environment variable TIMM_FUSED_ATTN=0) its weights pass "
            "through attn_drop, where AAL can read them"
            if fused
            else ""
        )
    )


def _unknown(attn: nn.Module) -> str:
    """What an attention module has that a plain one has not."""
    own = [name for name, _ in attn.named_children()]
    own += [name for name, _ in attn.named_parameters(recurse=False)]
    inputs = list(inspect.signature(attn.forward).parameters)[1:]
    extra = [name for name in own if name not in _PLAIN]
    extra += [f"{name} (an input)" for name in inputs if name not in ("args", "kwargs")]
    return ", ".join(extra) or "its forward method"


def _words(sides: set) -> str:
    return " or ".join(map(str, sorted(sides)))


def _run(
    twin: nn.Module, readings: Sequence[list[BlockReader]]
) -> tuple[list[list[Tensor]], list[dict[int, Any]]] | None:
    """Of each module: the weights in its products, and what each reading kept with its grid."""
    for size in _sizes(twin):
        products: list[list[Tensor]] = [[] for _ in readings]
        kept: list[dict[int, Any]] = [{n: [None, None] for n in range(len(r))} for r in readings]
        within: list[int] = []
        with ExitStack() as hooks:
            for block, readers in enumerate(readings):
                attention = readers[0].attention
                handles = [
                    attention.register_forward_pre_hook(_enter(within, block)),
                    attention.register_forward_hook(_leave(within)),
                ]
                for number, reader in enumerate(readers):
                    for place, source in enumerate((reader.weights, reader.grid)):
                        keep = _keep(kept[block][number], place, source.select)
                        handles.append(source.module.register_forward_hook(keep))
                for handle in handles:
                    hooks.callback(handle.remove)
            parameter = next(twin.parameters())
            generator = torch.Generator().manual_seed(1)
            images = torch.randn(_IMAGES, 3, *size, generator=generator).to(parameter.device)
            try:
                with torch.no_grad(), _Unfused(), _Products(within, products):
                    twin(images)
            except Exception:  # any size may be wrong for a student, each in a way of its own
                continue
            return products, kept
    return None


def _keep(slot: list, place: int, select: Any) -> Any:
    def hook(module: nn.Module, inputs: tuple, output: Any) -> None:
        slot[place] = select(inputs, output)

    return hook


def _enter(within: list[int], block: int) -> Any:
    return lambda module, inputs: within.append(block)


def _leave(within: list[int]) -> Any:
    def hook(module: nn.Module, inputs: tuple, output: Any) -> None:
        within.pop()

    return hook


def _sizes(student: nn.Module) -> Iterator[tuple[int, int]]:
    """(H, W) that a student may have been built for."""
    for module in student.modules():
        for name in ("img_size", "image_size"):
            size = getattr(module, name, None)
            if isinstance(size, int):
                yield (size, size)
            elif isinstance(size, (tuple, list)) and len(size) == 2:
                yield tuple(size)
    yield from ((64, 64), (224, 224), (256, 256), (384, 384))


class _Unfused(TorchFunctionMode):
    """Computes fused attention step by step, so that its product with the values is seen."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (t.repeat_interleave(groups, dim=-3) for t in (key, value))
    scores = (query @ key.mT) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores + torch.full_like(scores, float("-inf")).triu(1)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return scores.softmax(-1) @ value


class _Products(TorchDispatchMode):
    """Keeps the left factor of every batched product whose rows are as long as it has rows."""

    def __init__(self, within: list[int], products: list[list[Tensor]]) -> None:
        super().__init__()
        self._within, self._products = within, products

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.bmm.default and self._within:
            left = args[0]
            if left.shape[-1] == left.shape[-2]:
                self._products[self._within[-1]].append(left)
        return func(*args, **(kwargs or {}))
