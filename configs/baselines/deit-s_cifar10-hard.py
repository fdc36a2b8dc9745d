# tools/dist_train.sh configs/baselines/deit-s_cifar10-hard.py 8
# Table 6: DeiT-S on CIFAR-10, CE + hard distillation by the token.
_base_ = ["./deit-s_cifar10.py", "../_base_/cifar10_teacher.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.cifar10_teacher,
    distill_head=dict(type="DistillHead", kind="hard", token=True),
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
