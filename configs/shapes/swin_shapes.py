# tools/train.py configs/shapes/swin_shapes.py
# A small Swin, stages of 6×6 and 3×3 in windows of 3×3, with the recipe of deit_shapes.py.
_base_ = "./deit_shapes.py"
model = dict(
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",
        arch=dict(embed_dims=64, depths=[2, 4], num_heads=[2, 4]),
        img_size=48,
        patch_size=8,
        window_size=3,
        out_indices=(1,),
        drop_path_rate=0.0,
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(_delete_=True, type="LinearClsHead", num_classes=10, in_channels=128),
)
work_dir = "work_dirs/swin_shapes"
