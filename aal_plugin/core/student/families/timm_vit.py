"""timm's plain ViTs: one patch grid, and an attention module that hooks can read as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aal_plugin.core.student.maps import check_fills, patch_softmax, put_on_grid, token_attention
from aal_plugin.core.student.readers import (
    BlockReader,
    StudentReader,
    block_reader,
    matrix_reader,
    projections_reader,
)
from aal_plugin.core.student.recognise import (
    OtherAttention,
    attentions_of,
    computes_as,
    family,
    is_a,
    patch_of,
)
from aal_plugin.core.student.recorder import (
    Foreign,
    Grid,
    Source,
    first_input,
    output_grid,
    output_of,
)

TIMM = "timm.models"
VIT = f"{TIMM}.vision_transformer"
PLAIN = ("timm.layers.attention.Attention", f"{VIT}.Attention")
DIFFERENTIAL = (f"{VIT}.DiffParallelScalingBlock", "timm.layers.diff_attention.DiffAttention")


@family("timm VisionTransformer (ViT, DeiT, DeiT-III)", f"{VIT}.VisionTransformer")
def timm_vit(module: Foreign) -> StudentReader:
    """ViT, DeiT, DeiT-III, with registers, with or without a class token.

    Blocks may be parallel (ViT-22B, 18x2) or have differential attention. A block of several
    attention modules counts as several blocks. Differential attention subtracts two softmaxes for
    each head: both are maps, since links can subtract them as well.
    """
    settings = (*plain_grid(module), module.cls_token is not None)
    blocks: list[BlockReader] = []
    for block in module.blocks:
        if computes_as(block, f"{VIT}.ParallelThingsBlock"):
            blocks += [qkv_reader(branch.attn, *settings) for branch in block.attns]
            continue
        # The attention of some parallel blocks is not a module of its own.
        own = computes_as(block, f"{VIT}.ParallelScalingBlock", DIFFERENTIAL[0])
        attn = block if own else getattr(block, "attn", None)
        if computes_as(attn, *PLAIN):
            blocks.append(qkv_reader(attn, *settings, block))
        elif computes_as(attn, f"{VIT}.ParallelScalingBlock"):
            blocks.append(heads_reader(attn, *settings, block, heads_first=False))
        elif computes_as(attn, *DIFFERENTIAL):
            reader = heads_reader(attn, *settings, block)
            blocks.append(reader._replace(num_heads=2 * reader.num_heads))
        else:
            raise OtherAttention
    return StudentReader(blocks, *sizes_of(module.patch_embed))


@family("timm BEiT", f"{TIMM}.beit.Beit")
def timm_beit(module: Foreign) -> StudentReader:
    """BEiT and BEiT v2, whose blocks use the weight of `qkv` without calling it."""
    grid, prefix = plain_grid(module)
    blocks = [
        block_reader(attn, [Source(attn, first_input)], grid, _read_beit, block, prefix, attn=attn)
        for attn, block in attentions_of(module.blocks, f"{TIMM}.beit.Attention")
    ]
    return StudentReader(blocks, *sizes_of(module.patch_embed))


def _read_beit(tokens: Tensor, grid: Grid, attn: Foreign, num_prefix_tokens: int) -> Tensor:
    """Class-token attention from the input of a BEiT attention module (AAL, Eq. 3).

    Such a module uses its `qkv` by the weight alone, with biases of its own, so no projection runs
    that a hook could record. The class token's query is multiplied by the keys' weight instead:
    q · (W x) = (Wᵀq) · x, one row for each head rather than all keys once more. Terms that are
    equal for all keys of a query cancel in the softmax: the keys' bias, and the relative position
    bias between the class token and the patches, which is one number for each head.
    """
    check_fills(tokens.shape[1] - num_prefix_tokens, grid)
    query_weight, key_weight, _ = attn.qkv.weight.chunk(3)
    bias = getattr(attn, "q_bias", None)
    if bias is None and attn.qkv.bias is not None:
        bias = attn.qkv.bias.chunk(3)[0]
    query = F.linear(tokens[:, 0], query_weight, bias).unflatten(-1, (attn.num_heads, -1))
    key_weight = key_weight.unflatten(0, (attn.num_heads, -1))
    pulled_back = torch.einsum("bmd,mde->bme", query * attn.scale, key_weight)
    scores = torch.einsum("bme,bne->bmn", pulled_back, tokens[:, num_prefix_tokens:])
    return put_on_grid(patch_softmax(scores), grid)


@family("timm PiT", f"{TIMM}.pit.PoolingVisionTransformer")
def timm_pit(module: Foreign) -> StudentReader:
    """PiT, distilled too: each stage has a grid of its own and the class token."""
    blocks: list[BlockReader] = []
    for stage in module.transformers:
        conv = module.patch_embed.conv if stage.pool is None else stage.pool.conv
        settings = (Source(conv, output_grid), module.num_tokens, True)
        pairs = attentions_of(stage.blocks, *PLAIN)
        blocks += [qkv_reader(attn, *settings, block) for attn, block in pairs]
    return StudentReader(blocks, tuple(module.patch_embed.img_size))


@family("timm ConViT", f"{TIMM}.convit.ConVit")
def timm_convit(module: Foreign) -> StudentReader:
    """ConViT: gated positional attention without a class token, then blocks with one."""
    pairs = attentions_of(module.blocks, f"{TIMM}.convit.GPSA", f"{TIMM}.convit.MHSA")
    if not is_a(module.patch_embed, "timm.layers.patch_embed.PatchEmbed"):
        raise OtherAttention
    grid = Source(module.patch_embed.proj, output_grid)
    blocks = [
        matrix_reader(attn, grid, 0, False, block)
        if is_a(attn, f"{TIMM}.convit.GPSA")
        else qkv_reader(attn, grid, 1, True, block)
        for attn, block in pairs
    ]
    return StudentReader(blocks, *sizes_of(module.patch_embed))


def plain_grid(module: Foreign) -> tuple[Source, int]:
    """Where the grid of a plain ViT is recorded, and the tokens before its patches."""
    return Source(module.patch_embed.proj, output_grid), module.num_prefix_tokens


def qkv_reader(
    attn: Foreign, grid: Source, num_prefix_tokens: int, class_token: bool, block: Any = None
) -> BlockReader:
    """Read timm's common attention module."""
    return projections_reader(attn, [attn.qkv], grid, num_prefix_tokens, class_token, block)


def heads_reader(
    attn: Foreign,
    grid: Source,
    num_prefix_tokens: int,
    class_token: bool,
    block: nn.Module | None,
    extras: tuple[Source, ...] = (),
    terms: Callable[..., dict[str, Any]] | None = None,
    heads_first: bool = True,
) -> BlockReader:
    """Read attention from queries and keys of all tokens after their norms, and position terms.

    Args:
        attn: has `q_norm`, `k_norm`, `num_heads` and `scale`.
        extras: more values to record, such as the rotary embedding.
        terms: `terms(attn, *extras)` returns `rotate` or `bias` for `token_attention`.
        heads_first: whether queries and keys are (B, M, T, D), rather than (B, T, M, D).
    """
    settings: Any = dict(class_token=class_token, terms=terms, heads_first=heads_first)
    sources = (*normed_sources(attn), *extras)
    return block_reader(
        attn, sources, grid, _read_heads, block, num_prefix_tokens, attn=attn, **settings
    )


def normed_sources(attn: Foreign) -> tuple[Source, ...]:
    """Queries and keys as timm's attention modules norm them, if only with `nn.Identity`."""
    return Source(attn.q_norm, output_of), Source(attn.k_norm, output_of)


def _read_heads(
    query: Tensor,
    key: Tensor,
    *extras: Any,
    grid: Grid,
    attn: Foreign,
    terms: Callable[..., dict[str, Any]] | None,
    heads_first: bool,
    **settings: Any,
) -> Tensor:
    if heads_first:
        query, key = query.transpose(1, 2), key.transpose(1, 2)
    groups = getattr(attn, "num_kv_groups", 1)
    key = key if groups == 1 else key.repeat_interleave(groups, dim=2)  # shared by several heads
    added = {} if terms is None else terms(attn, *extras)
    return token_attention(query, key, grid, scale=attn.scale, **settings, **added)


def sizes_of(patch_embed: Foreign) -> tuple[Grid | None, Grid | None]:
    """The image size of a patch embedding, and the patch that has to divide other sizes."""
    if getattr(patch_embed, "dynamic_img_pad", False):  # it pads what patches do not cover
        return None, None
    if isinstance(patch_embed.proj, nn.Conv2d):
        return patch_embed.img_size, patch_of(patch_embed.proj)
    # A stem of several convolutions has a stride of its own.
    return patch_embed.img_size, patch_embed.feat_ratio(as_scalar=False)
