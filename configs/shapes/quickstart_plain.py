# tools/train.py configs/shapes/quickstart_plain.py
# A small DeiT-style ViT (six blocks, four heads, 64 channels) on 2,000 images of the embedded set.
_base_ = "../_base_/shapes.py"
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="VisionTransformer",
        img_size=48,
        patch_size=8,
        arch=dict(embed_dims=64, num_layers=6, num_heads=4, feedforward_channels=128),
    ),
    head=dict(type="VisionTransformerClsHead", num_classes=10, in_channels=64),
)
train_dataloader = dict(batch_size=25)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05))
param_scheduler = dict(
    type="OneCycleLR", eta_max=1e-3, total_steps=20, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=4)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
work_dir = "work_dirs/quickstart/plain"
