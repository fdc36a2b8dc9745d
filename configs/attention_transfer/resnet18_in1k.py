# tools/dist_train.sh configs/attention_transfer/resnet18_in1k.py 8
# ResNet-18 on ImageNet: the baseline of AT's Table 5, by the recipe of its imagenet.py. Shortcuts
# have batch norm as in the paper's ResNet-18 (fb.resnet.torch); those of imagenet.py have none.
_base_ = "mmpretrain::resnet/resnet18_8xb32_in1k.py"
custom_imports = dict(imports=["aal_plugin.mm"], allow_failed_imports=False)
model = dict(
    backbone=dict(
        zero_init_residual=False,
        init_cfg=[
            dict(type="Kaiming", layer="Conv2d", mode="fan_in"),
            dict(type="Uniform", layer="_BatchNorm", a=0.0, b=1.0),
        ],
    ),
    head=dict(init_cfg=dict(type="Kaiming", layer="Linear", mode="fan_in")),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=224, backend="pillow"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# Its code counts epochs from 1 and lowers the lr at the start of 30, 60 and 90.
param_scheduler = dict(milestones=[29, 59, 89])
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3), fresh_optimizer=dict(type="ResetMomentumHook")
)
