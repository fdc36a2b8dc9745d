# tools/train.py configs/cifar100/resnet-56_cifar100.py
# The teacher: ResNet-56 on CIFAR-100 at 32 px (Locality Guidance, r-56_c100.yaml).
_base_ = ["../_base_/cifar100_224.py", "mmpretrain::_base_/default_runtime.py"]
custom_imports = dict(imports=["aal_plugin.mm"], allow_failed_imports=False)
model = dict(
    type="ImageClassifier",
    backbone=dict(type="SmallResNet", depth=56, zero_init_residual=False),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=100, in_channels=64),
)
crop = dict(type="RandomResizedCrop", scale=32, backend="pillow", interpolation="bicubic")
train_dataloader = dict(dataset=dict(pipeline=[crop, *_base_.strong_pipeline[1:]]))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=[dict(type="PackInputs")]))
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = dict(type="CosineAnnealingLR", T_max=300)
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = test_cfg = dict()
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
