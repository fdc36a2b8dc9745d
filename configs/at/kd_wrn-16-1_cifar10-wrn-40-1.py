# tools/train.py configs/at/kd_wrn-16-1_cifar10-wrn-40-1.py
# Soft distillation to wrn-16-1 from wrn-40-1 (AT, Table 1).
_base_ = "./wrn-16-1_cifar10.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="configs/at/wrn-40-1_cifar10.py",
        checkpoint="work_dirs/wrn-40-1_cifar10/epoch_200.pth",
    ),
    distill_head=dict(type="DistillHead", kind="soft", loss_weight=0.9, temperature=4.0),
)
custom_hooks = [dict(type="TeacherAccuracyHook")]
