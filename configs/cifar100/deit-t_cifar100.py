# tools/train.py configs/cifar100/deit-t_cifar100.py
# DeiT-Ti from scratch on CIFAR-100 at 224 px (Locality Guidance, deit-ti_c100_base.yaml): no Mixup,
# no label smoothing. DeiTLR is one epoch behind its schedule.
_base_ = ["../_base_/deit-s.py", "../_base_/cifar100_224.py", "../_base_/deit_300e.py"]
model = dict(
    backbone=dict(arch="deit-tiny"),
    head=dict(num_classes=100, in_channels=192, loss=dict(_delete_=True, type="CrossEntropyLoss")),
    train_cfg=dict(_delete_=True),
)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = dict(warmup_epochs=20, warmup_lr=5e-7, min_lr=5e-6)
auto_scale_lr = dict(base_batch_size=128)
default_hooks = dict(  # without DeiT's average
    _delete_=True,
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=3),
    logger=dict(type="LoggerHook", interval=100),
)
