# Attention transfer on CIFAR-10: the teachers, after the configs that train them, and the heads.
nin_wide = dict(
    type="MMTeacher",
    config="configs/at/nin-wide_cifar10.py",
    checkpoint="work_dirs/nin-wide_cifar10/epoch_200.pth",
)
wrn_16_2 = dict(
    type="MMTeacher",
    config="configs/at/wrn-16-2_cifar10.py",
    checkpoint="work_dirs/wrn-16-2_cifar10/epoch_200.pth",
)
wrn_40_1 = dict(
    type="MMTeacher",
    config="configs/at/wrn-40-1_cifar10.py",
    checkpoint="work_dirs/wrn-40-1_cifar10/epoch_200.pth",
)
wrn_40_2 = dict(
    type="MMTeacher",
    config="configs/at/wrn-40-2_cifar10.py",
    checkpoint="work_dirs/wrn-40-2_cifar10/epoch_200.pth",
)
attention = dict(type="ActivationTransferHead", loss_weight=1000.0)
knowledge = dict(type="DistillHead", kind="soft", loss_weight=0.9, temperature=4.0)
decay = dict(type="LambdaDecayHook", gammas=(0.98,))
accuracy = dict(type="TeacherAccuracyHook")
