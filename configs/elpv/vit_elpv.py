# tools/train.py configs/elpv/vit_elpv.py    (after tools/real_images.py)
# The small ViT of the Fashion-MNIST recipes on 1,399 photographs of solar cells, 128 px.
_base_ = "../_base_/elpv.py"
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="VisionTransformer",
        img_size=128,
        patch_size=16,
        in_channels=1,
        arch=dict(embed_dims=64, num_layers=6, num_heads=4, feedforward_channels=128),
    ),
    head=dict(type="VisionTransformerClsHead", num_classes=2, in_channels=64),
)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05))
param_scheduler = dict(
    type="OneCycleLR", eta_max=2e-3, total_steps=60, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=20)
work_dir = "work_dirs/elpv/vit"
