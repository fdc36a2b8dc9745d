# tools/train.py configs/shapes/aal_deit_shapes.py    (after configs/shapes/quickstart_teacher.py)
# The ViT of deit_shapes.py with AAL.
_base_ = ["./deit_shapes.py", "../_base_/aal_shapes.py"]
model = _base_.aal
optim_wrapper = dict(optimizer=dict(lr=_base_.aal_lr))
param_scheduler = dict(eta_max=_base_.aal_lr)
default_hooks = dict(aal=_base_.decay)
work_dir = "work_dirs/aal_deit_shapes"
