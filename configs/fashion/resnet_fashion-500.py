# tools/train.py configs/fashion/resnet_fashion-500.py    (after tools/real_images.py)
# A small residual CNN from nothing on the 500 photographs of vit_fashion-500.py.
_base_ = "../_base_/fashion.py"
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="SmallResNet",
        depth=10,
        in_channels=1,
        stem_channels=16,
        base_channels=16,
        strides=(1, 2, 2, 2),
        zero_init_residual=False,
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=128),
)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=4e-3, weight_decay=0.05))
param_scheduler = dict(
    type="OneCycleLR", eta_max=4e-3, total_steps=80, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, max_epochs=80, val_interval=40)
work_dir = "work_dirs/fashion/resnet"
