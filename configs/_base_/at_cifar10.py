# Attention transfer on CIFAR-10: the heads, and the teachers, which have configs of their own.
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
# The temperature is 4 "for ResNet transfers" (4.1). The paper gives none for NIN: FitNets' is 3.
knowledge = dict(type="DistillHead", kind="soft", loss_weight=0.9, temperature=4.0)
nin_knowledge = dict(knowledge, temperature=3.0)
# β decays with hints and with distillation (4.1.1, 4.1.2). The rate is our choice: 2% of it is
# left at the end.
decay = dict(type="LambdaDecayHook", gammas=(0.98,))
accuracy = dict(type="TeacherAccuracyHook")
