# tools/train.py configs/shapes/aal_deit_shapes-hard.py    (after configs/shapes/quickstart_teacher.py)
# The ViT of deit_shapes.py with AAL and hard distillation.
_base_ = ["./deit_shapes.py", "../_base_/aal_shapes.py"]
model = dict(_base_.aal, distill_head=dict(type="DistillHead", kind="hard"))
optim_wrapper = dict(optimizer=dict(lr=_base_.aal_lr))
param_scheduler = dict(eta_max=_base_.aal_lr)
default_hooks = dict(aal=_base_.decay, accuracy=dict(type="TeacherAccuracyHook"))
work_dir = "work_dirs/aal_deit_shapes-hard"
