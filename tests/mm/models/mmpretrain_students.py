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


STUDENTS = [
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
            (32, 48), lambda model, weights: class_rows()(model, weights[-2:]),
            "Eq. 3, of the class-attention blocks alone"),
    Student("MMPretrain HuggingFaceClassifier", "`HuggingFaceClassifier` of `ViT`",
            hugging_face_classifier, (32, 48), class_rows()),
]  # fmt: skip
