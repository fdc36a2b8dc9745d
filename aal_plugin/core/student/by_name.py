"""`attention_layers`: reads the attention of any ViT by the names of its modules."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from .readers import BlockReader, StudentReader, matrix_reader, projections_reader, qkv_reader
from .reading_check import first_right, noisy_copy
from .recognise import any_size, is_a, own_scale
from .sources import Foreign, Source, output_grid

AttentionLayers = str | Sequence[str] | dict[str, Any]

# Names of separate query and key projections.
SEPARATE = (("q", "k"), ("q_proj", "k_proj"), ("query", "key"), ("to_q", "to_k"))
HEADS = ("num_heads", "num_attention_heads", "heads", "n_heads")


def reader_by_name(student: nn.Module, layers: AttentionLayers) -> StudentReader:
    """The reader of a ViT whose attention modules are named.

    An attention module has its number of heads, in `num_heads`, `num_attention_heads`, `heads` or
    `n_heads`, and one of these:

    - `qkv`, a module that is called and returns (B, T, 3·M·D), queries before keys before values;
    - separate query and key projections that are called and return (B, T, M·D) each, named q and
      k, q_proj and k_proj, query and key, or to_q and to_k;
    - `attn_drop`, a module that receives the softmax weights (B, M, T, T), queries before keys.

    The first of these that gives the right maps is used. The factor on the product of queries and
    keys is the attention module's `scale` or `scaling`, or 1/√D if it has neither; `q_norm` and
    `k_norm` are applied. The result is checked, see `reading_check`: rotary and relative-position
    terms, talking heads and the like are read at `attn_drop`, or rejected by name.

    Args:
        student: the ViT, or a module that contains it.
        layers: `attention` alone, or a dict with

            attention: dotted names of the attention modules, block after block, `*` for any
                number: 'blocks.*.attn'.
            patch_embed: dotted name of the convolution whose output (B, C, h, w) becomes the
                patches; default: the first convolution of the student.
            num_prefix_tokens: tokens before the patches; default 1, the class token.
            class_token: whether the first of them is a class token (Eq. 3). If not, the attention
                that each patch receives is read.

    Raises:
        ValueError: unknown keys; names that the student lacks; modules without attention, or with
            attention that AAL cannot read.

    Example:
        >>> import timm
        >>> student = timm.create_model("test_vit")
        >>> len(reader_by_name(student, "blocks.*.attn").blocks)
        6
    """
    settings: dict[str, Any] = dict(layers) if isinstance(layers, dict) else dict(attention=layers)
    patterns = settings.pop("attention", None)
    patch_name = settings.pop("patch_embed", None)
    num_prefix_tokens = settings.pop("num_prefix_tokens", 1)
    class_token = settings.pop("class_token", num_prefix_tokens > 0)
    if settings or not patterns:
        raise ValueError(
            f"attention_layers={layers!r}: set attention=[...]; allowed besides it are "
            "patch_embed, num_prefix_tokens and class_token"
        )
    if class_token and num_prefix_tokens < 1:
        raise ValueError(
            f"attention_layers: class_token=True needs num_prefix_tokens=1 or more, not "
            f"{num_prefix_tokens}"
        )
    modules = dict(student.named_modules())
    patch_name = _matching([patch_name or _first_conv(modules)], modules)[0]
    names = _matching([patterns] if isinstance(patterns, str) else patterns, modules)

    def candidates(owner: nn.Module) -> list[list[BlockReader]]:
        own = dict(owner.named_modules())
        grid = Source(own[patch_name], output_grid)
        return [
            _candidates(name, own[name], grid, num_prefix_tokens, class_token) for name in names
        ]

    twin = noisy_copy(student)
    right = first_right(twin, names, candidates(twin), class_token)
    blocks = [readers[number] for readers, number in zip(candidates(student), right)]
    return StudentReader(blocks, None, any_size)


def _candidates(
    name: str, attn: Foreign, grid: Source, num_prefix_tokens: int, class_token: bool
) -> list[BlockReader]:
    """The readers that may fit an attention module, the cheapest first."""
    num_heads = next((getattr(attn, heads) for heads in HEADS if hasattr(attn, heads)), None)
    norms: dict[str, Any] = dict(
        query_norm=getattr(attn, "q_norm", None), key_norm=getattr(attn, "k_norm", None)
    )
    readers: list[BlockReader] = []
    if num_heads is not None and _has(attn, "qkv"):
        scale = _scale(name, attn, attn.qkv, 3 * num_heads)
        readers.append(qkv_reader(attn, grid, num_prefix_tokens, scale, class_token, **norms))
    for query, key in SEPARATE:
        if num_heads is not None and _has(attn, query) and _has(attn, key):
            projections = getattr(attn, query), getattr(attn, key)
            scale = _scale(name, attn, projections[0], num_heads)
            readers.append(
                projections_reader(
                    attn, *projections, num_heads, grid, num_prefix_tokens, scale, class_token,
                    **norms,
                )
            )  # fmt: skip
    if num_heads is not None and _has(attn, "attn_drop"):
        readers.append(matrix_reader(attn, grid, num_prefix_tokens, class_token))
    if readers:
        return readers
    raise ValueError(
        f"attention_layers: AAL finds no attention in {name!r} ({type(attn).__name__}); it needs "
        f"its number of heads ({', '.join(HEADS)}) and one of: qkv, a module that returns "
        "(B, T, 3·M·D); separate projections such as q and k, q_proj and k_proj, query and key; "
        "attn_drop, a module that receives the softmax weights (B, M, T, T)"
    )


def _has(attn: Foreign, name: str) -> bool:
    return isinstance(getattr(attn, name, None), nn.Module)


def _scale(name: str, attn: Foreign, projection: nn.Module, parts: int) -> float:
    if is_a(attn, "mmpretrain.models.utils.attention.MultiheadAttention"):
        return own_scale(attn)
    for attribute in ("scale", "scaling"):
        scale = getattr(attn, attribute, None)
        if isinstance(scale, (int, float)):
            return scale
    if not isinstance(projection, nn.Linear):
        raise ValueError(
            f"attention_layers: {name!r} ({type(attn).__name__}) needs an attribute `scale`, the "
            f"factor on the product of queries and keys, since its projection is a "
            f"{type(projection).__name__}, whose width AAL does not know"
        )
    return float((projection.out_features // parts) ** -0.5)


def _matching(patterns: Sequence[str], modules: dict[str, nn.Module]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        # `*` stands for one part of a dotted name.
        regex = re.compile("[^.]*".join(map(re.escape, pattern.split("*"))))
        matches = [name for name in modules if regex.fullmatch(name)]
        if not matches:
            near = difflib.get_close_matches(pattern, list(modules), n=5, cutoff=0.4)
            raise ValueError(
                f"attention_layers: the student has no module {pattern!r}; near names: "
                f"{', '.join(near) or 'none'}"
            )
        found += matches
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ValueError(
            f"attention_layers={list(patterns)!r} names {twice} more than once; name each block "
            "once"
        )
    return found


def _first_conv(modules: dict[str, nn.Module]) -> str:
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d):
            return name
    raise ValueError(
        "attention_layers: the student has no convolution; set attention_layers.patch_embed"
    )
