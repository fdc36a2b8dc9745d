# tools/train.py configs/shapes/quickstart_teacher.py
# A residual CNN of four stages, on 10,000 images of the embedded shapes set.
_base_ = "../_base_/shapes.py"
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="SmallResNet",
        depth=10,
        stem_channels=16,
        base_channels=16,
        strides=(2, 2, 2, 1),
        zero_init_residual=False,
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=128),
)
train_dataloader = dict(batch_size=100, dataset=dict(num_images=10000))
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=4e-3, weight_decay=0.05))
param_scheduler = dict(
    type="OneCycleLR", eta_max=4e-3, total_steps=3, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, max_epochs=3)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
work_dir = "work_dirs/quickstart/teacher"
