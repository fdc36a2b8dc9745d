# Locality Guidance: ResNet-56 teaches, and sees the student's images at 32 px (bicubic here,
# bilinear in its code). Its weight, blocks and levels (deit-ti_c100_ours.yaml, counted from 0).
cifar100_teacher = dict(
    type="MMTeacher",
    config="{{fileDirname}}/../cifar100/resnet-56_cifar100.py",
    checkpoint="work_dirs/resnet-56_cifar100/epoch_300.pth",
    image_size=32,
)
guidance = dict(weight=2.5, blocks=[1, 7, 12], levels=[1, 2, 3])
link_head = dict(type="AttentionLinkHead", links="full", loss_weight=2000.0)
decay = dict(type="LambdaDecayHook", final=0.05)
