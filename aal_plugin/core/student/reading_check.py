"""Checks by a trial run that a reader returns the weights that a block puts on its values.

# B batch, T tokens, M heads, D head channels, N patch tokens, h w patch grid (N = h*w)

An attention module of an unknown class may rotate its queries, add a position bias, mix its heads
or scale its logits, and its names need not say so. A copy of the student, with noise on all
parameters (a bias that starts at zero would hide), runs on random images. The factors of the
products with the values are intercepted, and compared with the maps of each reader.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .intercept import IMAGES, Trial, run_trial
from .readers import BlockReader
from .windows import attention_from_weights

# float32 on both sides; a reader that leaves something out is wrong by far more.
_TOLERANCE = 1e-3
# The parts of a plain attention module, and those that a reader takes into account.
_PLAIN = {"qkv", "q_norm", "k_norm", "attn_drop", "proj", "proj_drop", "norm", "gate", "softmax"}
_PLAIN |= {"gamma1", "out_drop"}  # MMPretrain's
_PLAIN |= {"q", "k", "v", "q_proj", "k_proj", "v_proj", "o_proj", "query", "key", "value"}
_PLAIN |= {"to_q", "to_k", "to_v", "to_out", "out_proj"}


def noisy_copy(student: nn.Module) -> nn.Module:
    """A copy in float32 and eval mode, with no parameter at its neutral start.

    Example:
        >>> noisy_copy(nn.LayerNorm(2, dtype=torch.float64)).weight.dtype
        torch.float32
    """
    twin = copy.deepcopy(student).float().requires_grad_(False)
    twin.eval()  # not chained: MMPretrain's backbones return None
    generator = torch.Generator().manual_seed(0)
    for module in twin.modules():
        weighs = isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))
        for parameter in module.parameters(recurse=False):
            std = 0.5 * parameter[0].numel() ** -0.5 if weighs and parameter.dim() > 1 else 0.3
            noise = torch.randn(parameter.shape, generator=generator) * std
            parameter.add_(noise.to(parameter.device))
    return twin


def first_right(
    twin: nn.Module,
    names: Sequence[str],
    candidates: Sequence[list[BlockReader]],
    class_token: bool,
) -> list[int]:
    """The index of the first right reader of each attention module.

    Args:
        twin: a `noisy_copy`.
        names: names of its attention modules, for the error.
        candidates: the readers that may fit each of them, the best first.
        class_token: whether they read a class token's row.

    Raises:
        ValueError: none is right; the parts that AAL cannot read are named.

    Example:
        >>> import timm
        >>> from aal_plugin.core.student.families import find_reader
        >>> twin = noisy_copy(timm.create_model("test_vit"))
        >>> blocks = find_reader(twin).blocks
        >>> first_right(twin, ["block"] * 6, [[block] for block in blocks], class_token=True)
        [0, 0, 0, 0, 0, 0]
    """
    trials = run_trial(twin, candidates)
    if trials is None:
        warnings.warn(
            "attention_layers: the student does not run on images of any common size, so AAL could "
            f"not check that it reads the attention of {names[0]!r}",
            stacklevel=2,
        )
        return [0] * len(names)
    return [
        _first_right(name, readers, class_token, trial)
        for name, readers, trial in zip(names, candidates, trials)
    ]


def _first_right(name: str, readers: list[BlockReader], class_token: bool, trial: Trial) -> int:
    attn, num_heads = readers[0].attention, readers[0].num_heads
    who = f"attention_layers: {name!r} ({type(attn).__name__})"
    if not trial.products:
        warnings.warn(
            f"{who} multiplies no weights with values that AAL can see, so AAL could not check "
            "how it computes its attention",
            stacklevel=3,
        )
        return 0
    grids = [grid for _, grid in trial.values if grid is not None]
    tokens = grids[0][0] * grids[0][1] + readers[0].num_prefix_tokens if grids else None
    # A class-attention block has the class token's row alone.
    rows_allowed = (1, tokens) if class_token else (tokens,)
    whole = [
        weights
        for weights in trial.products
        if weights.shape[-1] == tokens
        and weights.shape[-2] in rows_allowed
        and weights.numel() == IMAGES * num_heads * weights.shape[-2] * weights.shape[-1]
    ]
    if not whole:
        sides = {weights.shape[-1] for weights in trial.products}
        raise ValueError(
            f"{who} weighs {_or(sides)} values at a time, not all {tokens} tokens "
            f"(num_prefix_tokens={readers[0].num_prefix_tokens} and the patches of the grid); AAL "
            "reads only attention of every token to every token"
        )
    weights = whole[-1].reshape(IMAGES, num_heads, -1, whole[-1].shape[-1])
    sums = weights.sum(-1)
    if weights.min() < -_TOLERANCE or (sums - 1).abs().max() > _TOLERANCE:
        raise ValueError(
            f"{who} does not weigh its values with a softmax: the weights of a token sum to "
            f"{sums.min():.2f}…{sums.max():.2f}, not 1; AAL cannot read {_unknown(attn)}"
        )
    for number, (reader, (values, grid)) in enumerate(zip(readers, trial.values)):
        if grid is None or any(value is None for value in values):
            continue
        expected = attention_from_weights(weights, grid, reader.num_prefix_tokens, class_token)
        if _agrees(reader, values, grid, expected):
            return number
    fused = getattr(attn, "fused_attn", False) and hasattr(attn, "attn_drop")
    raise ValueError(
        f"{who} computes its attention in another way than the softmax of its queries times its "
        f"keys; AAL cannot read {_unknown(attn)}"
        + (
            "; without fused attention (environment variable TIMM_FUSED_ATTN=0) its weights pass "
            "through attn_drop, where AAL can read them"
            if fused
            else ""
        )
    )


def _agrees(
    reader: BlockReader, values: list[Any], grid: tuple[int, int], expected: Tensor
) -> bool:
    try:
        maps = reader.read(*values, grid=grid)
    except (RuntimeError, ValueError):
        return False
    return maps.shape == expected.shape and bool(
        (maps - expected).abs().max() < _TOLERANCE * expected.max()
    )


def _unknown(attn: nn.Module) -> str:
    """The parts of an attention module that a plain one lacks."""
    own = [name for name, _ in attn.named_children()]
    own += [name for name, _ in attn.named_parameters(recurse=False)]
    inputs = list(inspect.signature(attn.forward).parameters)[1:]
    extra = [name for name in own if name not in _PLAIN]
    extra += [f"{name} (an input)" for name in inputs if name not in ("args", "kwargs")]
    return ", ".join(extra) or "its forward method"


def _or(sides: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(sides)))
