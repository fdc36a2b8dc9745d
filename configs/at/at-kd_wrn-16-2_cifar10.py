# tools/train.py configs/at/at-kd_wrn-16-2_cifar10.py
# Soft distillation and attention transfer of decaying weight to wrn-16-2 (AT, Table 1).
_base_ = "./wrn-16-2_cifar10.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="configs/at/wrn-40-2_cifar10.py",
        checkpoint="work_dirs/wrn-40-2_cifar10/epoch_200.pth",
    ),
    transfer_head=dict(type="ActivationTransferHead", loss_weight=1000.0),
    distill_head=dict(type="DistillHead", kind="soft", loss_weight=0.9, temperature=4.0),
)
custom_hooks = [dict(type="LambdaDecayHook", gammas=(0.98,)), dict(type="TeacherAccuracyHook")]
