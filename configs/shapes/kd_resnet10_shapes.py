# tools/train.py configs/shapes/kd_resnet10_shapes.py    (after configs/shapes/quickstart_teacher.py)
# The ResNet of resnet10_shapes.py with soft distillation.
_base_ = ["./resnet10_shapes.py", "../_base_/aal_shapes.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.aal.teacher,
    distill_head=dict(type="DistillHead", kind="soft", loss_weight=0.9, temperature=4.0),
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
work_dir = "work_dirs/kd_resnet10_shapes"
