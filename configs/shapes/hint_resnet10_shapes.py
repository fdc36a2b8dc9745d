# tools/train.py configs/shapes/hint_resnet10_shapes.py    (after configs/shapes/quickstart_teacher.py)
# The ResNet of resnet10_shapes.py with FitNets hints on all four stages, of decaying weight.
_base_ = ["./resnet10_shapes.py", "../_base_/aal_shapes.py"]
model = dict(type="AALClassifier", teacher=_base_.aal.teacher, transfer_head=dict(type="HintHead"))
default_hooks = dict(aal=dict(type="LambdaDecayHook", gammas=(0.8,)))
work_dir = "work_dirs/hint_resnet10_shapes"
