# tools/dist_train.sh configs/deit/deit-s_in1k-token.py 8
# DeiT-S with a distillation token that learns the teacher's hard labels.
_base_ = ["../baselines/deit-s_in1k.py", "../_base_/deit_teacher.py"]
model = dict(
    type="AALClassifier",
    backbone=dict(type="DistilledVisionTransformer"),
    head=dict(type="DeiTClsHead"),
    teacher=_base_.deit_teacher,
    distill_head=dict(type="DistillHead", kind="hard", token=True),
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
