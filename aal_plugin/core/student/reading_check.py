"""Checks a reader against the weights that a block puts on its values.

# B batch, T tokens, M heads, D head channels, N patch tokens, h w patch grid (N = h*w)

An attention module of an unknown class may rotate its queries, add a position bias, mix its heads
or scale its logits, and its names need not say so. A copy of the student, with noise on all
parameters (a bias that starts at zero would hide), runs on random images. Then each attention
module runs once more, and what it multiplies with its values is compared with each reader's maps.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from aal_plugin.core.images import image_channels_of
from aal_plugin.older_releases import plain_attention

from .maps import attention_from_weights
from .readers import BlockReader
from .recorder import Grid, Recorder, Source

_IMAGES = 2
# float32 on both sides; a reader that leaves something out is wrong by far more.
_TOLERANCE = 1e-3
# The parts of a plain attention module, and those that a reader takes into account.
_PLAIN = {"qkv", "q_norm", "k_norm", "attn_drop", "proj", "proj_drop", "norm", "gate", "softmax"}
_PLAIN |= {"q", "k", "v", "q_proj", "k_proj", "v_proj", "o_proj", "query", "key", "value"}
_PLAIN |= {"to_q", "to_k", "to_v", "to_out", "out_proj", "out", "gamma1", "out_drop"}


def first_right(
    student: nn.Module,
    names: Sequence[str],
    candidates: Sequence[list[BlockReader]],
    grid: Source,
    class_token: bool,
) -> list[BlockReader]:
    """The first right reader of each attention module; `candidates` has the best first.

    Raises:
        ValueError: none is right; the parts of `names` that AAL cannot read are named.
    """
    # The copy's readers read the copy.
    twin, of_twin, twin_grid = copy.deepcopy((student, candidates, grid))
    _add_noise(twin)
    calls = [Recorder(readers[0].attention, _call) for readers in of_twin]
    size = Recorder(*twin_grid)
    if not _runs(twin, [size, *calls]):
        warnings.warn(
            "attention_layers: the student does not run on images of any common size, so AAL could "
            f"not check that it reads the attention of {names[0]!r}",
            stacklevel=3,
        )
        return [readers[0] for readers in candidates]
    found = size.stop()
    if found is None:
        raise ValueError(
            "attention_layers.patch_embed: the convolution that it names, or else the student's "
            "first one, does not run; name the one that makes the patches"
        )
    return [
        readers[_first_right(name, twins, class_token, found, call.stop())]
        for name, readers, twins, call in zip(names, candidates, of_twin, calls)
    ]


def _add_noise(twin: nn.Module) -> None:
    """Float32 and eval mode, with no parameter at its neutral start."""
    twin.float().requires_grad_(False)
    twin.eval()  # not chained: MMPretrain's backbones return None
    generator = torch.Generator().manual_seed(0)
    for module in twin.modules():
        weighs = isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
        for parameter in module.parameters(recurse=False):
            std = 0.5 * parameter[0].numel() ** -0.5 if weighs and parameter.dim() > 1 else 0.3
            noise = torch.randn(parameter.shape, generator=generator) * std
            parameter.add_(noise.to(parameter.device))


def _call(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    return args, kwargs


def _runs(twin: nn.Module, recorders: Sequence[Recorder]) -> bool:
    """Record a run on random images, of a size that the student may have been built for."""
    sizes = [
        (size, size) if isinstance(size, int) else tuple(size)
        for module in twin.modules()
        for name in ("img_size", "image_size")
        if isinstance(size := getattr(module, name, None), (int, tuple, list))
    ]
    generator = torch.Generator().manual_seed(1)
    for size in (*sizes, (64, 64), (224, 224), (256, 256), (384, 384)):
        for recorder in recorders:
            recorder.start()
        try:
            images = torch.randn(_IMAGES, image_channels_of(twin), *size, generator=generator)
            with torch.no_grad():
                twin(images.to(next(twin.parameters()).device))
            return True
        except Exception:  # a size may be wrong for a student, each in a way of its own
            continue
    return False


class _Weights(TorchDispatchMode):
    """Stores the left factor of every batched product that is square or has one row."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.bmm.default and args[0].shape[-2] in (1, args[0].shape[-1]):
            self.found.append(args[0])
        return func(*args, **(kwargs or {}))


def _first_right(
    name: str, readers: list[BlockReader], class_token: bool, grid: Grid, call: Any
) -> int:
    attn, prefix = readers[0].attention, readers[0].num_prefix_tokens
    who = f"attention_layers: {name!r} ({type(attn).__name__})"
    recorders = [[Recorder(*source) for source in reader.sources] for reader in readers]
    for recorder in (one for several in recorders for one in several):
        recorder.start()
    # Fused attention would hide its product with the values.
    with torch.no_grad(), plain_attention(), _Weights() as products:
        if call is not None:
            attn(*call[0], **call[1])
    if not products.found:
        warnings.warn(
            f"{who} multiplies no weights with values that AAL can see, so AAL could not check "
            "how it computes its attention",
            stacklevel=4,
        )
        return 0
    weights = _of_all_tokens(products.found, readers[0], class_token, grid)
    if weights is None:
        sides = sorted({weights.shape[-1] for weights in products.found})
        raise ValueError(
            f"{who} weighs {' or '.join(map(str, sides))} values at a time, not all "
            f"{grid[0] * grid[1] + prefix} tokens (num_prefix_tokens={prefix} and the patches of "
            "the grid); AAL reads only attention of every token to every token"
        )
    sums = weights.sum(-1)
    if weights.min() < -_TOLERANCE or (sums - 1).abs().max() > _TOLERANCE:
        raise ValueError(
            f"{who} does not weigh its values with a softmax: the weights of a token sum to "
            f"{sums.min():.2f}…{sums.max():.2f}, not 1; {_unknown(attn)}"
        )
    expected = attention_from_weights(weights, grid, prefix, class_token)
    for number, (reader, several) in enumerate(zip(readers, recorders)):
        try:
            maps = reader.read(*(recorder.stop() for recorder in several), grid=grid)
        except (AttributeError, RuntimeError, TypeError, ValueError):
            continue  # a source that did not run is None
        limit = _TOLERANCE * float(expected.max())
        if maps.shape == expected.shape and torch.allclose(maps, expected, rtol=0, atol=limit):
            return number
    hint = ""
    if getattr(attn, "fused_attn", False) and hasattr(attn, "attn_drop"):
        hint = (
            "; without fused attention (environment variable TIMM_FUSED_ATTN=0) its weights pass "
            "through attn_drop, where AAL can read them"
        )
    raise ValueError(
        f"{who} computes its attention in another way than the softmax of its queries times its "
        f"keys; {_unknown(attn)}{hint}"
    )


def _of_all_tokens(
    found: list[Tensor], reader: BlockReader, class_token: bool, grid: Grid
) -> Tensor | None:
    """The last weights that are (B, M, T, T), or (B, M, 1, T) of a class-attention block."""
    tokens = grid[0] * grid[1] + reader.num_prefix_tokens
    for weights in reversed(found):
        queries, keys = weights.shape[-2:]
        fits = keys == tokens and (queries == tokens or (class_token and queries == 1))
        if fits and weights.numel() == _IMAGES * reader.num_heads * queries * keys:
            return weights.reshape(_IMAGES, reader.num_heads, queries, keys)
    return None


def _unknown(attn: nn.Module) -> str:
    """What a plain attention module lacks of this one, and what to do about it."""
    own = [name for name, _ in attn.named_children()]
    own += [name for name, _ in attn.named_parameters(recurse=False)]
    inputs = list(inspect.signature(attn.forward).parameters)[1:]
    extra = [f"self.{name}" for name in own if name not in _PLAIN]
    extra += [f"{name} (an input)" for name in inputs if name not in ("args", "kwargs")]
    what = f"what it does with {', '.join(extra)}" if extra else "what its forward method does"
    return (
        f"AAL does not know {what}; let the weights after the softmax pass through a Dropout named "
        "attn_drop, which AAL reads"
    )
