# Table 6: AAL and distillation from an EfficientNet-B3 that was trained on CIFAR-10 alone; the
# paper explains the table by this (5.3). To use the one that starts from ImageNet's weights:
# --cfg-options model.teacher.config=configs/baselines/efficientnet-b3_cifar10.py
#     model.teacher.checkpoint=work_dirs/efficientnet-b3_cifar10/epoch_30.pth
cifar10_teacher = dict(
    type="MMTeacher",
    config="{{fileDirname}}/../baselines/efficientnet-b3_cifar10-scratch.py",
    checkpoint="work_dirs/efficientnet-b3_cifar10-scratch/epoch_300.pth",
)
link_head = dict(type="AttentionLinkHead", links="alpha", loss_weight=2000.0)
decay = dict(type="LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,))
