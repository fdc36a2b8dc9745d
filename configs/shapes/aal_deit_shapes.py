# tools/train.py configs/shapes/aal_deit_shapes.py    (after configs/shapes/quickstart_teacher.py)
# The ViT of deit_shapes.py with AAL.
_base_ = ["./deit_shapes.py", "../_base_/aal_shapes.py"]
model = _base_.aal
default_hooks = dict(aal=_base_.decay)
work_dir = "work_dirs/aal_deit_shapes"
