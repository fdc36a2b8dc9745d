# Wide ResNets and NIN on CIFAR-10 as in attention transfer's code (cifar.py, utils.py).
_base_ = [
    "mmpretrain::_base_/datasets/cifar10_bs16.py",
    "mmpretrain::_base_/default_runtime.py",
]
custom_imports = dict(imports=["aal_plugin.mm"], allow_failed_imports=False)
data_preprocessor = dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])
model = dict(
    type="ImageClassifier",
    backbone=dict(type="WideResNet", depth=16, widen_factor=1),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=10,
        in_channels=64,
        init_cfg=dict(type="Kaiming", layer="Linear", mode="fan_in"),
    ),
)
train_pipeline = [
    # torchvision's: MMPretrain's RandomCrop pads with zeros.
    dict(type="NumpyToPIL"),
    dict(type="torchvision/RandomCrop", size=32, padding=4, padding_mode="reflect"),
    dict(type="PILToNumpy"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4))
# Its code counts epochs from 1 and lowers the lr at the start of 60, 120 and 160: after 59, 119, 159.
param_scheduler = dict(type="MultiStepLR", by_epoch=True, milestones=[59, 119, 159], gamma=0.2)
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
val_cfg = test_cfg = dict()
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3), fresh_optimizer=dict(type="ResetMomentumHook")
)
