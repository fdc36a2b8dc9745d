# tools/dist_train.sh configs/baselines/deit-s_cifar10-soft.py 8
# Table 6: DeiT-S on CIFAR-10, CE + soft distillation by the token. The sum is divided by the batch,
# as in DeiT's paper. Its code divides by batch times classes: reduction="elements".
_base_ = ["./deit-s_cifar10.py", "../_base_/cifar10_teacher.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.cifar10_teacher,
    distill_head=dict(type="DistillHead", kind="soft", token=True),
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
