# tools/dist_train.sh configs/deit/deit-t_in1k-hard.py 8
# DeiT-Ti with hard distillation.
_base_ = ["../baselines/deit-t_in1k.py", "../_base_/deit_teacher.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.deit_teacher,
    distill_head=dict(type="DistillHead", kind="hard"),
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
