# tools/train.py configs/shapes/convit_shapes.py
# A ConViT of the size of deit_shapes.py's ViT: four blocks with gated positional attention, then two.
_base_ = "./deit_shapes.py"
model = dict(
    backbone=dict(
        _delete_=True,
        type="TIMMPooledBackbone",
        model_name="convit_tiny",
        img_size=48,
        patch_size=8,
        embed_dim=16,  # for each head
        depth=6,
        num_heads=4,
        mlp_ratio=2,
        local_up_to_layer=4,
    ),
    head=dict(_delete_=True, type="LinearClsHead", num_classes=10, in_channels=64),
)
work_dir = "work_dirs/convit_shapes"
