"""MMPretrain's families that attend within windows."""

from __future__ import annotations

from functools import partial

from torch import nn

from aal_plugin.core.student.readers import StudentReader, window_reader
from aal_plugin.core.student.recognise import attentions_of, check_divides, is_a
from aal_plugin.core.student.sources import Foreign, Source, second_input
from aal_plugin.core.student.windows import Windows

BACKBONES = "mmpretrain.models.backbones"


def mmpretrain_swin(module: Foreign) -> StudentReader | None:
    """Swin Transformer v1 and v2."""
    known = (f"{BACKBONES}.swin_transformer", f"{BACKBONES}.swin_transformer_v2")
    if not is_a(module, f"{known[0]}.SwinTransformer", f"{known[1]}.SwinTransformerV2"):
        return None
    layers = [block for stage in module.stages for block in stage.blocks]
    shifted = attentions_of(layers, "mmpretrain.models.utils.attention.ShiftWindowMSA")
    if shifted is None:
        return None
    blocks = [
        window_reader(attn.w_msa, Source(attn, second_input), partial(_windows, attn), layer)
        for attn, layer in zip(shifted, layers)
    ]
    projection = module.patch_embed.projection
    size = module.patch_embed.init_input_size
    return StudentReader(blocks, size, partial(_windows_fit, module, projection))


def _windows(attn: Foreign, grid: tuple[int, int]) -> Windows:
    side = attn.window_size
    # A grid of one window is not shifted, unless small grids are padded to it.
    shift = attn.shift_size if min(grid) > side or attn.pad_small_map else 0
    return Windows((grid[0], grid[1]), (side, side), (shift, shift), pads_first=True)


def _windows_fit(swin: Foreign, patch_conv: nn.Conv2d, height: int, width: int) -> None:
    check_divides(patch_conv, height, width)
    grid = (height // patch_conv.stride[0], width // patch_conv.stride[1])
    for number, stage in enumerate(swin.stages, start=1):
        if number > 1:
            grid = (-(-grid[0] // 2), -(-grid[1] // 2))
        for block in stage.blocks:
            side = block.attn.window_size
            if min(grid) < side and not block.attn.pad_small_map:
                raise ValueError(
                    f"images of {height}×{width} pixels give stage {number} of the student a grid "
                    f"of {grid[0]}×{grid[1]}, smaller than its window; set "
                    f"backbone.window_size={min(grid)} or less (now {side}), or "
                    "backbone.pad_small_map=True, or use larger images"
                )
