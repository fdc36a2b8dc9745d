# tools/train.py configs/shapes/deit_shapes.py
# A ViT of six blocks, four heads and 64 channels: cross-entropy alone, weak augmentation.
_base_ = "./quickstart_plain.py"
model = dict(
    backbone=dict(
        arch=dict(embed_dims=64, num_layers=6, num_heads=4, feedforward_channels=128),
    ),
    head=dict(in_channels=64),
)
work_dir = "work_dirs/deit_shapes"
