"""`attention_layers`: reads the attention of any ViT by the names of its modules."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from .readers import (
    BlockReader,
    Source,
    StudentReader,
    any_size,
    is_a,
    matrix_reader,
    output_grid,
    own_scale,
    qkv_reader,
)
from .reading_check import first_right, noisy_copy

AttentionLayers = str | Sequence[str] | dict[str, Any]


def reader_by_name(student: nn.Module, names: AttentionLayers) -> StudentReader:
    """The reader of a ViT whose attention modules are named.

    An attention module has `num_heads` and either

    - `qkv`, a module that is called and puts out (B, T, 3·M·D), queries before keys before
      values; or
    - `attn_drop`, a module that takes in softmax weights (B, M, T, T), queries before keys.

    `qkv` is taken where both are there and its reading is right. The factor on the product of
    queries and keys is the attention module's `scale`, or 1/√D where it has none; `q_norm` and
    `k_norm` are applied. What is read is checked, see `reading_check`: rotary and relative-position
    terms, talking heads and the like are refused by name, or read at `attn_drop`.

    Args:
        names: `attention` alone, or a dict with

            attention: dotted names of the attention modules, block after block, `*` for any
                number: 'blocks.*.attn'.
            patch_embed: dotted name of the convolution whose output (B, C, h, w) becomes the
                patches; by default the first convolution of the student.
            num_prefix_tokens: tokens ahead of the patches, 1 by default: the class token.
            class_token: whether the first of them is a class token (Eq. 3); without one, the
                attention that each patch receives is taken.

    Raises:
        ValueError: unknown keys; names that the student lacks; modules that show no attention, or
            compute it in a way that is not understood.
    """
    settings = dict(names) if isinstance(names, dict) else dict(attention=names)
    patterns = settings.pop("attention", None)
    patch_name = settings.pop("patch_embed", None)
    num_prefix_tokens = settings.pop("num_prefix_tokens", 1)
    class_token = settings.pop("class_token", num_prefix_tokens > 0)
    if settings or not patterns:
        raise ValueError(
            f"attention_layers={names!r}: give attention=[...], and if wanted patch_embed, "
            f"num_prefix_tokens and class_token"
        )
    if class_token and num_prefix_tokens < 1:
        raise ValueError("attention_layers: class_token=True needs num_prefix_tokens=1 or more")
    modules = dict(student.named_modules())
    patch_name = patch_name or _first_conv(modules)
    patch_name = _matching([patch_name], modules)[0]
    names = _matching([patterns] if isinstance(patterns, str) else patterns, modules)

    def readings(owner: nn.Module) -> list[list[BlockReader]]:
        own = dict(owner.named_modules())
        grid = Source(own[patch_name], output_grid)
        return [
            _readers_of(name, own[name], grid, num_prefix_tokens, class_token) for name in names
        ]

    found = readings(student)
    twin = noisy_copy(student)
    right = first_right(twin, names, readings(twin), class_token)
    return StudentReader([readers[number] for readers, number in zip(found, right)], None, any_size)


def _readers_of(
    name: str, attn: nn.Module, grid: Source, num_prefix_tokens: int, class_token: bool
) -> list[BlockReader]:
    """The ways in which a module's attention could be read, the cheapest first."""
    readers = []
    if hasattr(attn, "num_heads") and isinstance(getattr(attn, "qkv", None), nn.Module):
        norms = dict(query_norm=getattr(attn, "q_norm", None))
        norms["key_norm"] = getattr(attn, "k_norm", None)
        readers.append(
            qkv_reader(attn, grid, num_prefix_tokens, _scale(name, attn), class_token, **norms)
        )
    if hasattr(attn, "num_heads") and isinstance(getattr(attn, "attn_drop", None), nn.Module):
        readers.append(matrix_reader(attn, grid, num_prefix_tokens, class_token))
    if readers:
        return readers
    raise ValueError(
        f"attention_layers: {name!r} ({type(attn).__name__}) shows no attention; it needs "
        "num_heads, and either qkv, a module that returns (B, T, 3·M·D), or attn_drop, a module "
        "that receives the softmax weights (B, M, T, T)"
    )


def _scale(name: str, attn: nn.Module) -> float:
    if is_a(attn, "mmpretrain.models.utils.attention.MultiheadAttention"):
        return own_scale(attn)
    scale = getattr(attn, "scale", None)
    if isinstance(scale, (int, float)):
        return scale
    if not isinstance(attn.qkv, nn.Linear):
        raise ValueError(f"attention_layers: {name!r} needs a scale, for its qkv tells no width")
    return (attn.qkv.out_features // (3 * attn.num_heads)) ** -0.5


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
        raise ValueError(f"attention_layers={list(patterns)!r} names {twice} more than once")
    return found


def _first_conv(modules: dict[str, nn.Module]) -> str:
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d):
            return name
    raise ValueError(
        "attention_layers: the student has no convolution; name attention_layers.patch_embed"
    )
