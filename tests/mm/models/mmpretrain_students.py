"""MMPretrain's students, each as small as its config allows."""

import tempfile

from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from tests.core.student.attention_loops import window_received
from tests.core.student.hugging_face_students import SMALL
from tests.core.student.students import Student, class_rows, received_rows

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
VIT = dict(arch=ARCH, img_size=(24, 16), patch_size=8)


def built(**config):
    def make():
        init_default_scope("mmpretrain")
        return MODELS.build(config)

    return make


def hugging_face_classifier():
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        transformers.ViTConfig(**SMALL).save_pretrained(folder)
        return built(type="HuggingFaceClassifier", model_name=folder)()


def sam(model, weights):
    sides = [(3, 3), (5, 4)]
    return [window_received(found, 2, (5, 4), side) for found, side in zip(weights, sides)]


def tiny(model, weights):
    blocks = [block for stage in model.stages[1:] for block in stage.blocks]
    return [window_received(found, block.attn.num_heads, block.img_size, (3, 3))
            for block, found in zip(blocks, weights, strict=True)]  # fmt: skip


def swin(*grids):
    def expected(model, weights):
        attentions = [block.attn for stage in model.stages for block in stage.blocks]
        assert [attn.shift_size for attn in attentions] == [0, 2, 0, 2]
        maps = []
        for attn, found, grid in zip(attentions, weights, grids, strict=True):
            # A grid of one window is not shifted, unless it is padded to it.
            side = attn.shift_size if attn.pad_small_map or grid[1] > 4 else 0
            heads = attn.w_msa.num_heads
            maps.append(window_received(found, heads, grid, (4, 4), (side, side), pads_first=True))
        return maps

    return expected


def last_two(model, weights):
    """What runs before attends too: T2T's tokens-to-token module, XCiT's blocks."""
    return class_rows()(model, weights[-2:])


def t2t(**layers):
    return built(type="T2T_ViT", img_size=32, embed_dims=16, num_layers=2,
                 t2t_cfg=dict(token_dims=8, use_performer=False),
                 layer_cfgs=dict(num_heads=2, feedforward_channels=32, **layers))  # fmt: skip


SWIN = dict(window_size=4, out_indices=(1,), drop_path_rate=0.0)
SWIN_ARCH = dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2])

PLAIN = [
    Student("MMPretrain VisionTransformer", "`VisionTransformer`, built for 24×16",
            built(type="VisionTransformer", **VIT), (16, 32), class_rows()),
    Student("MMPretrain VisionTransformer without class token",
            "`VisionTransformer`, with_cls_token=False",
            built(type="VisionTransformer", with_cls_token=False, out_type="raw", **VIT),
            (24, 16), received_rows(), "received"),
    Student("MMPretrain DistilledVisionTransformer", "`DistilledVisionTransformer`",
            built(type="DistilledVisionTransformer", **VIT), (24, 16), class_rows(2)),
    Student("MMPretrain DeiT3", "`DeiT3`", built(type="DeiT3", **VIT), (24, 16), class_rows()),
    Student("MMPretrain T2T_ViT", "`T2T_ViT`", t2t(), (32, 48), last_two),
    Student("MMPretrain T2T_ViT of another scale", "`T2T_ViT`, qk_scale=0.3", t2t(qk_scale=0.3),
            (32, 48), last_two),
    Student("MMPretrain BEiTViT", "`BEiTViT`, a position bias in each block",
            built(type="BEiTViT", use_rel_pos_bias=True, **VIT), (24, 16), class_rows()),
    Student("MMPretrain BEiTViT, shared bias", "`BEiTViT`, use_shared_rel_pos_bias=True",
            built(type="BEiTViT", use_rel_pos_bias=False, use_shared_rel_pos_bias=True, **VIT),
            (24, 16), class_rows()),
    Student("MMPretrain SwinTransformer", "`SwinTransformer`, pad_small_map=True",
            built(type="SwinTransformer", arch=SWIN_ARCH, img_size=(36, 28), pad_small_map=True,
                  **SWIN),
            (36, 28), swin((9, 7), (9, 7), (5, 4), (5, 4)), "received"),
    Student("MMPretrain SwinTransformerV2", "`SwinTransformerV2`",
            built(type="SwinTransformerV2", arch=dict(SWIN_ARCH, extra_norm_every_n_blocks=0),
                  img_size=(32, 32), **SWIN),
            (32, 32), swin((8, 8), (8, 8), (4, 4), (4, 4)), "received"),
]  # fmt: skip

STUDENTS = PLAIN + [
    Student("MMPretrain ViTEVA02", "`ViTEVA02`",
            built(type="ViTEVA02", arch=dict(ARCH), img_size=32, patch_size=8), (32, 32),
            class_rows()),
    Student("MMPretrain RevVisionTransformer",
            "`RevVisionTransformer`, no_custom_backward=True",
            built(type="RevVisionTransformer", no_custom_backward=True, **VIT), (24, 16),
            received_rows(), "received; needs no_custom_backward=True"),
    Student("MMPretrain ViTSAM", "`ViTSAM`, windows of 3×3, 1 global block",
            built(type="ViTSAM", arch=dict(ARCH, global_attn_indexes=[1]), img_size=(80, 64),
                  patch_size=16, out_channels=8, window_size=3, use_rel_pos=True),
            (80, 64), sam, "received"),
    Student("MMPretrain MViT", "`MViT`",
            built(type="MViT", arch=dict(embed_dims=8, num_layers=3, num_heads=1,
                                         downscale_indices=[1]), img_size=32),
            (32, 32), received_rows(), "received; pooled grid of the keys"),
    Student("MMPretrain HiViT", "`HiViT`",
            # It puts the stages before on a grid, in place, if they hold the last block's number.
            built(type="HiViT", arch=dict(embed_dims=32, depths=[1, 1, 7], num_heads=2),
                  img_size=48, patch_size=16, rpe=True, out_indices=[6]),
            (48, 48), received_rows(), "received; blocks of the main stage"),
    Student("MMPretrain LeViT", "`LeViT` 128s",
            built(type="LeViT", arch="128s", img_size=144), (144, 144), received_rows(),
            "received; grid of the keys", std=0.05),
    Student("MMPretrain TinyViT", "`TinyViT`",
            built(type="TinyViT", arch=dict(channels=[8, 8, 8, 8], num_heads=[1, 1, 2, 2],
                                            depths=[1, 1, 2, 1]),
                  img_size=(64, 96), window_size=[3, 3, 3, 3]),
            (64, 96), tiny, "received"),
    Student("MMPretrain XCiT", "`XCiT`, use_pos_embed=False",
            built(type="XCiT", patch_size=16, embed_dims=16, depth=2, cls_attn_layers=2,
                  num_heads=2, use_pos_embed=False),
            (32, 48), last_two, "Eq. 3, of the class-attention blocks alone"),
    Student("MMPretrain HuggingFaceClassifier", "`HuggingFaceClassifier` of `ViT`",
            hugging_face_classifier, (32, 48), class_rows()),
]  # fmt: skip
