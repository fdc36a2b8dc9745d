# tools/train.py configs/shapes/aal_pit_shapes.py    (after configs/shapes/quickstart_teacher.py)
# The PiT of pit_shapes.py, supervised by the CNN of quickstart_teacher.py.
_base_ = ["./pit_shapes.py", "../_base_/aal_shapes.py"]
model = dict(_base_.aal, link_head=dict(_base_.aal.link_head, map_size=7))
optim_wrapper = dict(optimizer=dict(lr=8e-3))
param_scheduler = dict(eta_max=8e-3)
default_hooks = dict(aal=_base_.decay)
work_dir = "work_dirs/aal_pit_shapes"
