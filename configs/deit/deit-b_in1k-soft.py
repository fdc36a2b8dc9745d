# tools/dist_train.sh configs/deit/deit-b_in1k-soft.py 16
# DeiT-B with soft distillation. The sum is divided by the batch, as in the paper. DeiT's code
# divides by batch times classes: --cfg-options model.distill_head.reduction=elements
_base_ = ["../baselines/deit-b_in1k.py", "../_base_/deit_teacher.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.deit_teacher,
    distill_head=dict(type="DistillHead", kind="soft"),
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
