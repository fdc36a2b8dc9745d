"""`attention_layers`: reads the attention of any ViT by the names of its modules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from aal_plugin.core.layer_names import near_names

from .readers import (
    HEADS,
    BlockReader,
    StudentReader,
    heads_of,
    matrix_reader,
    projections_reader,
)
from .reading_check import first_right
from .recorder import Foreign, Source, output_grid

AttentionLayers = str | Sequence[str] | dict[str, Any]

# Names of one projection, or of separate query and key projections.
PROJECTIONS = (("qkv",), ("q", "k"), ("q_proj", "k_proj"), ("query", "key"), ("to_q", "to_k"))


def reader_by_name(student: nn.Module, layers: AttentionLayers) -> StudentReader:
    """The reader of a ViT whose attention modules are named; see "A ViT of your own" in the docs.

    An attention module has its number of heads and `qkv`, separate query and key projections, or
    `attn_drop`; the first of these that gives the right maps is used, see `reading_check`. The
    factor on the product is its `scale` or `scaling`, or 1/√D; `q_norm` and `k_norm` are applied.

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
    if settings:
        raise ValueError(
            f"attention_layers has the key {', '.join(map(repr, settings))}; choose among "
            "attention, patch_embed, num_prefix_tokens and class_token"
        )
    if not patterns:
        raise ValueError(f"attention_layers={layers!r}: set attention=[...], names of modules")
    if class_token and num_prefix_tokens < 1:
        raise ValueError(
            f"attention_layers: class_token=True needs num_prefix_tokens=1 or more, not "
            f"{num_prefix_tokens}"
        )
    modules = dict(student.named_modules())
    if patch_name is None:
        patch_name = next((n for n, m in modules.items() if isinstance(m, nn.Conv2d)), None)
    if patch_name is None:
        raise ValueError(
            "attention_layers: the student has no convolution; set attention_layers.patch_embed"
        )
    grid = Source(modules[_matching([patch_name], modules)[0]], output_grid)
    names = _matching([patterns] if isinstance(patterns, str) else patterns, modules)
    candidates = [
        _candidates(name, modules[name], grid, num_prefix_tokens, class_token) for name in names
    ]
    return StudentReader(first_right(student, names, candidates, grid, class_token))


def _candidates(
    name: str, attn: Foreign, grid: Source, num_prefix_tokens: int, class_token: bool
) -> list[BlockReader]:
    """The readers that may fit an attention module, the cheapest first."""
    settings = grid, num_prefix_tokens, class_token
    # Without its number of heads, no part of it can be read.
    own = {} if heads_of(attn) is None else attn._modules
    parts = {part: module for part, module in own.items() if module is not None}
    readers = [
        projections_reader(attn, [parts[part] for part in kind], *settings)
        for kind in PROJECTIONS
        if parts.keys() >= set(kind)
    ]
    if "attn_drop" in parts:
        readers.append(matrix_reader(attn, *settings))
    if readers:
        return readers
    raise ValueError(
        f"attention_layers: AAL finds no attention in {name!r} ({type(attn).__name__}); it needs "
        f"its number of heads ({', '.join(HEADS)}) and one of: qkv, a module that returns "
        "(B, T, 3·M·D); separate projections such as q and k, q_proj and k_proj, query and key; "
        "attn_drop, a module that receives the softmax weights (B, M, T, T)"
    )


def _matching(patterns: Sequence[str], modules: dict[str, nn.Module]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        # `*` stands for one part of a dotted name.
        regex = re.compile("[^.]*".join(map(re.escape, pattern.split("*"))))
        matches = [name for name in modules if regex.fullmatch(name)]
        if not matches:
            raise ValueError(
                f"attention_layers: the student has no module {pattern!r}; near names: "
                f"{near_names(pattern, modules)}"
            )
        found += matches
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ValueError(
            f"attention_layers={list(patterns)!r} names {twice} more than once; name each block "
            "once"
        )
    return found
