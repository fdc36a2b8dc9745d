# Attention transfer on CIFAR-10: the teachers, after the configs that train them, and the heads.
nin_wide = dict(
    type="MMTeacher",
    config="{{fileDirname}}/../attention_transfer/nin-wide_cifar10.py",
    checkpoint="work_dirs/nin-wide_cifar10/epoch_200.pth",
)
# The teacher of Table 3's attention transfer, with losses on the convolutions' outputs (4.1.3).
nin_wide_norelu = dict(
    type="MMTeacher",
    config="{{fileDirname}}/../attention_transfer/nin-wide-norelu_cifar10.py",
    checkpoint="work_dirs/nin-wide-norelu_cifar10/epoch_200.pth",
    layers=["backbone.layer1.6", "backbone.layer2.6", "backbone.layer3.6"],
)
wrn_16_2 = dict(
    type="MMTeacher",
    config="{{fileDirname}}/../attention_transfer/wrn-16-2_cifar10.py",
    checkpoint="work_dirs/wrn-16-2_cifar10/epoch_200.pth",
)
wrn_40_1 = dict(
    type="MMTeacher",
    config="{{fileDirname}}/../attention_transfer/wrn-40-1_cifar10.py",
    checkpoint="work_dirs/wrn-40-1_cifar10/epoch_200.pth",
)
wrn_40_2 = dict(
    type="MMTeacher",
    config="{{fileDirname}}/../attention_transfer/wrn-40-2_cifar10.py",
    checkpoint="work_dirs/wrn-40-2_cifar10/epoch_200.pth",
)
# β = 10³ for the mean of squares, as in the code: the paper's 10³ over elements and batch (4.1.1).
attention = dict(type="ActivationTransferHead", loss_weight=1000.0)
# The temperature is 4 "for ResNet transfers" (4.1); NIN's is not told, ours is that of FitNets, 3.
knowledge = dict(type="DistillHead", kind="soft", loss_weight=0.9, temperature=4.0)
nin_knowledge = dict(knowledge, temperature=3.0)
# β decays with hints and with distillation (4.1.1, 4.1.2); how fast is ours: 0.02 of it at the end.
decay = dict(type="LambdaDecayHook", gammas=(0.98,))
accuracy = dict(type="TeacherAccuracyHook")
