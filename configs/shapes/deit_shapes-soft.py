# tools/train.py configs/shapes/deit_shapes-soft.py    (after configs/shapes/quickstart_teacher.py)
# The ViT of deit_shapes.py with soft distillation.
_base_ = ["./deit_shapes.py", "../_base_/aal_shapes.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.aal.teacher,
    distill_head=dict(type="DistillHead", kind="soft"),
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
work_dir = "work_dirs/deit_shapes-soft"
