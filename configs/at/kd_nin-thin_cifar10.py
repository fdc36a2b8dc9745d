# tools/train.py configs/at/kd_nin-thin_cifar10.py
# Soft distillation to nin-thin from nin-wide (AT, Table 1).
_base_ = "./nin-thin_cifar10.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="configs/at/nin-wide_cifar10.py",
        checkpoint="work_dirs/nin-wide_cifar10/epoch_200.pth",
    ),
    distill_head=dict(type="DistillHead", kind="soft", loss_weight=0.9, temperature=4.0),
)
custom_hooks = [dict(type="TeacherAccuracyHook")]
