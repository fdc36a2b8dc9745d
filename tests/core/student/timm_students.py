"""timm's students, each as small as its builder allows."""

import timm
import torch

from .attention_loops import window_received
from .students import Student, class_rows, received_rows

SMALL = dict(embed_dim=16, depth=2, num_heads=2, num_classes=5)


def vit(name, **kwargs):
    return lambda: timm.create_model(name, **{**SMALL, **kwargs})


def sam(model, weights):
    maps = []
    for block, found in zip(model.blocks, weights):
        grid = (5, 4)
        side = (block.window_size,) * 2 if block.window_size else grid
        maps.append(window_received(found, 2, grid, side))
    return maps


def differential(model, weights):
    """Two matrices for each head: those of its first and of its second half, in turn."""
    assert len(weights) == 4
    pairs = [torch.stack(pair, dim=2).flatten(1, 2) for pair in zip(weights[::2], weights[1::2])]
    return received_rows(1)(model, pairs)


def hiera(model, weights):
    """The patches' own numbers, sent along, tell where each key came from."""
    height, width = model.unroll.size
    place = model.unroll(torch.arange(height * width).view(1, -1, 1))[0, :, 0]
    maps, step = [], 1
    for block, found in zip(model.blocks, weights):
        found = found if found.dim() == 5 else found[:, :, None]  # one unit: (B, M, 1, Q, S)
        got = found.mean(-2)  # (B, M, W, S)
        order = place.view(-1, got.shape[2])  # token s of unit w is the s·W + w-th
        out = got.new_zeros(*got.shape[:2], height // step, width // step)
        for unit in range(got.shape[2]):
            for token in range(got.shape[3]):
                y, x = divmod(int(order[token, unit]), width)
                out[:, :, y // step, x // step] = got[:, :, unit, token]
        maps.append(out)
        if block.attn.q_stride > 1:  # 4 neighbours become one, named by the first
            place, step = place.view(4, -1)[0], 2 * step
    return maps


def levit(name):
    return lambda: timm.create_model(name, img_size=128, embed_dim=(16, 16, 16), depth=(1, 1, 1),
                                     key_dim=4, num_heads=(2, 3, 4), num_classes=5)  # fmt: skip


def tiny(model, weights):
    blocks = [block for stage in model.stages[1:] for block in stage.blocks]
    grids = [(8, 12), (4, 6), (4, 6), (2, 3)]
    return [window_received(found, block.num_heads, grid, (3, 3))
            for block, found, grid in zip(blocks, weights, grids, strict=True)]  # fmt: skip


def swin_cr(model, weights):
    blocks = [block for stage in model.stages for block in stage.blocks]
    grids = [(12, 16), (12, 16), (6, 8), (6, 8)]
    assert [any(block.shift_size) for block in blocks] == [False, True, False, True]
    return [window_received(found, block.attn.num_heads, grid, block.window_size, block.shift_size)
            for block, found, grid in zip(blocks, weights, grids, strict=True)]  # fmt: skip


def maxvit(name, size, window):
    kwargs = dict(img_size=size, embed_dim=(32, 32, 32, 32), depths=(1, 1, 1, 1), stem_width=8,
                  num_classes=5)  # fmt: skip
    transformer = dict(transformer_dim_head=16)
    if window is not None:
        transformer.update(transformer_window_size=window, transformer_grid_size=window)
    return lambda: timm.create_model(name, **kwargs, **transformer)


def partitions(model, weights):
    grids = [grid for grid in ((16, 24), (8, 12), (4, 6), (2, 3)) for _ in range(2)]
    return [window_received(found, 2, grid, (2, 3), dilated=number % 2 == 1)
            for number, (found, grid) in enumerate(zip(weights, grids, strict=True))]  # fmt: skip


def convit(model, weights):
    """Two softmaxes of each gated block, of content and of positions; then a plain block."""
    mixed = []
    for block, content, position in zip(model.blocks[:2], weights[:4:2], weights[1:4:2]):
        gate = block.attn.gating_param.sigmoid().view(-1, 1, 1)
        mixed.append((1 - gate) * content + gate * position)
    return received_rows()(model, mixed) + class_rows()(model, weights[4:])


def swin(*grids):
    def expected(model, weights):
        blocks = [block for stage in model.layers for block in stage.blocks]
        assert any(any(block.shift_size) for block in blocks)
        return [
            window_received(found, block.attn.num_heads, grid, block.window_size, block.shift_size)
            for block, found, grid in zip(blocks, weights, grids, strict=True)
        ]

    return expected


PIT = dict(img_size=(32, 48), base_dims=(8, 8, 8), depth=(1, 2, 1), heads=(1, 2, 4), num_classes=5)
SWIN = dict(embed_dim=8, depths=(2, 2), num_heads=(1, 2), drop_path_rate=0.0, num_classes=5)

PLAIN = [
    Student("timm VisionTransformer: ViT, DeiT, DeiT-III", "`vit_tiny_patch16_224`, 2 registers",
            vit("vit_tiny_patch16_224", img_size=(32, 48), reg_tokens=2, qk_norm=True),
            (32, 48), class_rows(3)),
    Student("timm VisionTransformer without class token",
            "`vit_tiny_patch16_224`, 2 registers, no class token",
            vit("vit_tiny_patch16_224", img_size=(32, 48), reg_tokens=2, qk_norm=True,
                class_token=False, global_pool="avg"),
            (32, 48), received_rows(2), "received"),
    Student("timm VisionTransformer, distilled", "`deit_tiny_distilled_patch16_224`",
            vit("deit_tiny_distilled_patch16_224", img_size=(32, 48)), (32, 48), class_rows(2)),
    Student("timm BEiT", "`beit_base_patch16_224`",
            vit("beit_base_patch16_224", img_size=(32, 48)), (32, 48), class_rows()),
    Student("timm PiT", "`pit_ti_224`", lambda: timm.create_model("pit_ti_224", **PIT), (32, 48),
            class_rows()),
    Student("timm PiT, distilled", "`pit_ti_distilled_224`",
            lambda: timm.create_model("pit_ti_distilled_224", **PIT), (32, 48), class_rows(2)),
    Student("timm ConViT", "`convit_tiny`, 2 gated blocks of 3",
            lambda: timm.create_model("convit_tiny", img_size=32, patch_size=8, embed_dim=8,
                                      depth=3, num_heads=4, local_up_to_layer=2, num_classes=5),
            (32, 32), convit, "received in gated blocks, then Eq. 3"),
    Student("timm Swin", "`swin_tiny_patch4_window7_224`, windows of 2×4",
            lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=(24, 40),
                                      window_size=(2, 4), **SWIN),
            (24, 40), swin((6, 10), (6, 10), (3, 5), (3, 5)), "received"),
    Student("timm Swin v2", "`swinv2_tiny_window8_256`, windows of 4×4",
            lambda: timm.create_model("swinv2_tiny_window8_256", img_size=32, window_size=4,
                                      **SWIN),
            (32, 32), swin((8, 8), (8, 8), (4, 4), (4, 4)), "received"),
]  # fmt: skip

ROTARY = [
    Student("timm Eva: EVA-02", "`eva02_tiny_patch14_224`",
            vit("eva02_tiny_patch14_224", img_size=(28, 42)), (28, 42), class_rows()),
    Student("timm Eva: EVA, no rotary positions", "`eva_giant_patch14_224`",
            vit("eva_giant_patch14_224", img_size=(28, 42)), (28, 42), class_rows()),
    Student("timm Eva: DINOv3 ViT", "`vit_small_patch16_dinov3`, 4 registers",
            vit("vit_small_patch16_dinov3", img_size=(32, 48)), (32, 48), class_rows(5)),
    Student("timm Eva: RoPE-ViT, axial", "`vit_small_patch16_rope_224`",
            vit("vit_small_patch16_rope_224", img_size=(32, 48)), (32, 48), class_rows()),
    Student("timm Eva: RoPE-ViT, mixed", "`vit_small_patch16_rope_mixed_224`",
            vit("vit_small_patch16_rope_mixed_224", img_size=(32, 48)), (32, 48), class_rows()),
    Student("timm Eva without class token", "`vit_small_patch16_rope_224`, no class token, "
            "4 heads of 2 keys",
            vit("vit_small_patch16_rope_224", img_size=(32, 48), class_token=False,
                num_heads=4, num_kv_heads=2, qkv_fused=False, global_pool="avg"),
            (32, 48), received_rows(), "received"),
    Student("timm NaFlexViT", "`naflexvit_base_patch16_gap`, 4 registers, no class token",
            vit("naflexvit_base_patch16_gap"), (32, 48), received_rows(4),
            "received; batches of images of one size"),
    Student("timm NaFlexViT with rotary positions", "`naflexvit_base_patch16_gap`, "
            "rope_type='axial', class token",
            vit("naflexvit_base_patch16_gap", class_token=True, global_pool="token",
                rope_type="axial"), (32, 48), class_rows(1 + 4)),
]  # fmt: skip

RELATIVE = [
    Student("timm VisionTransformerRelPos", "`vit_relpos_small_patch16_224`",
            vit("vit_relpos_small_patch16_224", img_size=(32, 48)), (32, 48), received_rows(),
            "received"),
    Student("timm VisionTransformerRelPos, bias table",
            "`vit_relpos_small_patch16_224`, rel_pos_type='bias'",
            vit("vit_relpos_small_patch16_224", img_size=(32, 48), rel_pos_type="bias"), (32, 48),
            received_rows(), "received"),
    Student("timm VisionTransformerRelPos with a class token",
            "`vit_relpos_base_patch16_cls_224`, rel_pos_type='bias'",
            vit("vit_relpos_base_patch16_cls_224", img_size=(32, 48), rel_pos_type="bias"),
            (32, 48), class_rows()),
    Student("timm VisionTransformerRelPos, shared bias", "`vit_srelpos_small_patch16_224`",
            vit("vit_srelpos_small_patch16_224", img_size=(32, 48)), (32, 48), received_rows(),
            "received"),
    Student("timm VisionTransformerSAM",
            "`samvit_base_patch16_224`, windows of 3×3, 1 global block",
            vit("samvit_base_patch16_224", img_size=(80, 64), window_size=3,
                global_attn_indexes=(1,)), (80, 64), sam, "received"),
    Student("timm VisionTransformerSAM with rotary positions",
            "`samvit_base_patch16_224`, use_rope=True",
            vit("samvit_base_patch16_224", img_size=(80, 64), window_size=3, use_rel_pos=False,
                use_rope=True, global_attn_indexes=(1,)), (80, 64), sam, "received"),
]  # fmt: skip

CLASS_ATTENTION = [
    Student("timm CaiT", "`cait_xxs24_224`", vit("cait_xxs24_224", img_size=(32, 48)), (32, 48),
            lambda model, weights: class_rows()(model, weights[-2:]),
            "Eq. 3, of the class-attention blocks alone"),
    Student("timm XCiT", "`xcit_nano_12_p16_224`",
            vit("xcit_nano_12_p16_224", img_size=(32, 48)), (32, 48),
            lambda model, weights: class_rows()(model, weights[-2:]),
            "Eq. 3, of the class-attention blocks alone"),
]  # fmt: skip

PARALLEL = [
    Student("timm VisionTransformer, parallel blocks", "`vit_base_patch16_xp_224`",
            vit("vit_base_patch16_xp_224", img_size=(32, 48), qk_norm=True), (32, 48),
            class_rows()),
    Student("timm VisionTransformer, 18x2 blocks", "`vit_small_patch16_18x2_224`",
            vit("vit_small_patch16_18x2_224", img_size=(32, 48)), (32, 48), class_rows(),
            "Eq. 3; two for each block"),
    Student("timm VisionTransformer, differential attention",
            "`vit_dwee_patch16_reg1_gap_256`, 1 register, no class token",
            vit("vit_dwee_patch16_reg1_gap_256", img_size=(32, 48)), (32, 48), differential,
            "received; both softmaxes of each head"),
    Student("timm VisionTransformer, differential and parallel",
            "`vit_dpwee_patch16_reg1_gap_256`, 1 register, no class token",
            vit("vit_dpwee_patch16_reg1_gap_256", img_size=(32, 48)), (32, 48), differential,
            "received; both softmaxes of each head"),
]  # fmt: skip

STEMS = [
    Student("timm ViTamin", "`vitamin_small_224`",
            lambda: timm.create_model("vitamin_small_224", img_size=(64, 96), depth=2,
                                      num_classes=5), (64, 96), received_rows(), "received"),
    Student("timm VisionTransformer, MobileCLIP stem", "`vit_base_mci_224`",
            lambda: timm.create_model("vit_base_mci_224", img_size=(32, 48), depth=2,
                                      num_classes=5), (32, 48), class_rows()),
]  # fmt: skip

PYRAMIDS = [
    Student("timm Hiera", "`hiera_tiny_224`",
            lambda: timm.create_model("hiera_tiny_224", img_size=(64, 96), embed_dim=16,
                                      stages=(1, 2, 1, 1), num_classes=5),
            (64, 96), hiera, "received; grid of the keys"),
    Student("timm Hiera, absolute window positions", "`hiera_small_abswin_256`",
            lambda: timm.create_model("hiera_small_abswin_256", img_size=64, embed_dim=16,
                                      stages=(1, 1, 2, 1), num_classes=5),
            (64, 64), hiera, "received; grid of the keys"),
    Student("timm LeViT", "`levit_128s`", levit("levit_128s"), (128, 128), received_rows(),
            "received; grid of the keys"),
    Student("timm LeViT, convolutional", "`levit_conv_128s`", levit("levit_conv_128s"), (128, 128),
            received_rows(), "received; grid of the keys"),
    Student("timm TinyViT", "`tiny_vit_5m_224`",
            lambda: timm.create_model("tiny_vit_5m_224", embed_dims=(8, 8, 8, 8),
                                      depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2),
                                      window_sizes=(3, 3, 3, 3), num_classes=5),
            (64, 96), tiny, "received"),
    Student("timm SwinTransformerV2Cr", "`swinv2_cr_tiny_ns_224`",
            lambda: timm.create_model("swinv2_cr_tiny_ns_224", img_size=(48, 64), embed_dim=8,
                                      depths=(2, 2), num_heads=(1, 2), window_size=4,
                                      num_classes=5),
            (48, 64), swin_cr, "received"),
    Student("timm MaxViT", "`maxvit_rmlp_pico_rw_256`, windows of 2×3",
            maxvit("maxvit_rmlp_pico_rw_256", (64, 96), (2, 3)), (64, 96), partitions,
            "received; windows and dilated grids in turn"),
    Student("timm MaxViT, TensorFlow's", "`maxvit_tiny_tf_224`, windows of 2×3",
            maxvit("maxvit_tiny_tf_224", (64, 96), (2, 3)), (64, 96), partitions,
            "received; windows and dilated grids in turn"),
    Student("timm MaxViT, parallel", "`maxvit_tiny_pm_256`, windows of 2×3",
            maxvit("maxvit_tiny_pm_256", (64, 96), (2, 3)), (64, 96), partitions,
            "received; windows and dilated grids in turn"),
    Student("timm MaxxViT", "`maxxvit_rmlp_nano_rw_256`, windows of 2×3",
            maxvit("maxxvit_rmlp_nano_rw_256", (64, 96), (2, 3)), (64, 96), partitions,
            "received; windows and dilated grids in turn"),
    Student("timm CoAtNet", "`coatnet_rmlp_nano_rw_224`",
            maxvit("coatnet_rmlp_nano_rw_224", (64, 96), None), (64, 96), received_rows(),
            "received"),
    Student("timm CoAtNet, bias table", "`coatnet_bn_0_rw_224`",
            maxvit("coatnet_bn_0_rw_224", (64, 96), None), (64, 96), received_rows(),
            "received"),
]  # fmt: skip

STUDENTS = PLAIN + ROTARY + RELATIVE + CLASS_ATTENTION + PARALLEL + STEMS + PYRAMIDS
