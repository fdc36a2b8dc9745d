# Table 6: AAL and distillation from the teacher of efficientnet-b3_cifar10.py.
cifar10_teacher = dict(
    type="MMTeacher",
    config="configs/efficientnet-b3_cifar10.py",
    checkpoint="work_dirs/efficientnet-b3_cifar10/epoch_30.pth",
)
link_head = dict(type="AttentionLinkHead", links="alpha", loss_weight=2000.0)
decay = dict(type="LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,))
