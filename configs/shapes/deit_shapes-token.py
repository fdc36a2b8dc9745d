# tools/train.py configs/shapes/deit_shapes-token.py    (after configs/shapes/quickstart_teacher.py)
# The ViT of deit_shapes.py with a distillation token that learns the teacher's hard labels.
_base_ = ["./deit_shapes.py", "../_base_/aal_shapes.py"]
model = dict(
    type="AALClassifier",
    backbone=dict(type="DistilledVisionTransformer"),
    head=dict(type="DeiTClsHead"),
    teacher=_base_.aal.teacher,
    distill_head=dict(type="DistillHead", kind="hard", token=True),
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
work_dir = "work_dirs/deit_shapes-token"
