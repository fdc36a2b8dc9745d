"""Hugging Face `transformers`: ViT, DeiT, BEiT, DINOv2, DINOv2 with registers, DINOv3 ViT.

Queries and keys have projections of their own: q_proj and k_proj since version 5, query and key
before it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from aal_plugin.core.student.positions import rotate
from aal_plugin.core.student.readers import BlockReader, StudentReader, projections_reader
from aal_plugin.core.student.recognise import OtherAttention, computes_as, family, is_a, patch_of
from aal_plugin.core.student.recorder import Foreign, Grid, Source, keyword, output_grid

# Package and prefix of the classes: transformers.models.vit.modeling_vit.ViTModel.
KINDS = {
    "vit": "ViT",
    "deit": "DeiT",
    "beit": "Beit",
    "dinov2": "Dinov2",
    "dinov2_with_registers": "Dinov2WithRegisters",
    "dinov3_vit": "DINOv3ViT",
}
PATHS = [f"transformers.models.{kind}.modeling_{kind}.{prefix}" for kind, prefix in KINDS.items()]


@family(
    "Hugging Face ViT, DeiT, BEiT, DINOv2, DINOv3 ViT",
    *(f"{path}{end}" for path in PATHS for end in ("Model", "Backbone")),
)
def hugging_face(module: Foreign) -> StudentReader:
    """The `…Model` or `…Backbone` of such a family, wherever its classifier holds it."""
    path = next(p for p in PATHS if is_a(module, f"{p}Model", f"{p}Backbone"))
    layers = [layer for layer in module.modules() if is_a(layer, f"{path}Layer")]
    embeddings = module.embeddings
    patches = embeddings.patch_embeddings
    conv = getattr(patches, "projection", patches)
    blocks = []
    for layer in layers:
        attn = next((m for m in layer.modules() if _holds_projections(m, path)), None)
        if attn is None:
            raise OtherAttention
        blocks.append(_block(attn, layer, Source(conv, output_grid), _prefix_tokens(embeddings)))
    size = getattr(patches, "image_size", None)  # DINOv3 accepts any
    return StudentReader(blocks, None if size is None else (size[0], size[1]), patch_of(conv))


def _holds_projections(module: Foreign, path: str) -> bool:
    kinds = (f"{path}Attention", f"{path}SelfAttention", f"{path}SdpaSelfAttention")
    return computes_as(module, *kinds) and (hasattr(module, "q_proj") or hasattr(module, "query"))


def _prefix_tokens(embeddings: Foreign) -> int:
    """The class token, and a distillation token or registers, if there are any."""
    tokens = [getattr(embeddings, name, None) for name in ("distillation_token", "register_tokens")]
    return 1 + sum(int(token.shape[1]) for token in tokens if token is not None)


def _block(attn: Foreign, layer: Foreign, grid: Source, num_prefix_tokens: int) -> BlockReader:
    names = ("q_proj", "k_proj") if hasattr(attn, "q_proj") else ("query", "key")
    # BEiT's bias between class token and patches is one number for each head, which cancels in the
    # softmax of Eq. 3.
    projections = [getattr(attn, name) for name in names]
    reader = projections_reader(attn, projections, grid, num_prefix_tokens, True, layer)
    if not is_a(attn, "transformers.models.dinov3_vit.modeling_dinov3_vit.DINOv3ViTAttention"):
        return reader
    tables = Source(attn, partial(keyword, name="position_embeddings"))
    read = partial(_read_rotary, read=reader.read)
    return reader._replace(sources=(*reader.sources, tables), read=read)


def _read_rotary(
    query: Tensor, key: Tensor, tables: tuple[Tensor, Tensor], *, grid: Grid, read: Any
) -> Tensor:
    """Maps from projections, and the cosine and sine of each patch's angles."""
    cosine, sine = tables
    # The class token's query is not rotated, the patches' keys are.
    turn = partial(rotate, sine=sine, cosine=cosine, half=True)
    maps: Tensor = read(query, key, grid=grid, rotate=turn)
    return maps
