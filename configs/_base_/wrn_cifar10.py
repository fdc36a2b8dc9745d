# Wide ResNets and NIN on CIFAR-10: SGD, 200 epochs, lr 0.1 divided by 5 at 60, 120 and 160.
_base_ = [
    "mmpretrain::_base_/datasets/cifar10_bs16.py",
    "mmpretrain::_base_/default_runtime.py",
]
custom_imports = dict(imports=["aal_plugin"], allow_failed_imports=False)
model = dict(
    type="ImageClassifier",
    backbone=dict(type="WideResNet", depth=16, widen_factor=1),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=64),
)
train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
)
param_scheduler = dict(type="MultiStepLR", by_epoch=True, milestones=[60, 120, 160], gamma=0.2)
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
val_cfg = test_cfg = dict()
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
