# tools/train.py configs/shapes/pit_shapes.py
# A small PiT, three stages of 7×7, 4×4 and 2×2 patches, with the recipe of deit_shapes.py.
_base_ = "./deit_shapes.py"
model = dict(
    backbone=dict(
        _delete_=True,
        type="TIMMPooledBackbone",
        model_name="pit_ti_224",
        img_size=48,
        patch_size=8,
        stride=6,
        base_dims=(32, 32, 32),
        depth=(2, 2, 2),
        heads=(2, 4, 8),
        mlp_ratio=2,
    ),
    head=dict(_delete_=True, type="LinearClsHead", num_classes=10, in_channels=256),
)
work_dir = "work_dirs/pit_shapes"
