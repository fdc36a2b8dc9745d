# Table 6: AAL and distillation from an EfficientNet-B3 that knows CIFAR-10 alone, by which the
# paper explains the table (5.3). For the one that starts from ImageNet's weights:
# --cfg-options model.teacher.config=configs/baselines/efficientnet-b3_cifar10.py
#     model.teacher.checkpoint=work_dirs/efficientnet-b3_cifar10/epoch_30.pth
cifar10_teacher = dict(
    type="MMTeacher",
    config="{{fileDirname}}/../baselines/efficientnet-b3_cifar10-scratch.py",
    checkpoint="work_dirs/efficientnet-b3_cifar10-scratch/epoch_300.pth",
)
link_head = dict(type="AttentionLinkHead", links="alpha", loss_weight=2000.0)
decay = dict(type="LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,))
