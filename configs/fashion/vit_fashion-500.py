# tools/train.py configs/fashion/vit_fashion-500.py    (after tools/real_images.py)
# A small DeiT-style ViT (six blocks, four heads, 64 channels) on 500 photographs of Fashion-MNIST.
_base_ = "../_base_/fashion.py"
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="VisionTransformer",
        img_size=28,
        patch_size=4,
        in_channels=1,
        arch=dict(embed_dims=64, num_layers=6, num_heads=4, feedforward_channels=128),
    ),
    head=dict(type="VisionTransformerClsHead", num_classes=10, in_channels=64),
)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05))
param_scheduler = dict(
    type="OneCycleLR", eta_max=2e-3, total_steps=160, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, max_epochs=160, val_interval=40)
work_dir = "work_dirs/fashion/vit"
