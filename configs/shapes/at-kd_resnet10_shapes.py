# tools/train.py configs/shapes/at-kd_resnet10_shapes.py    (after configs/shapes/quickstart_teacher.py)
# The ResNet of resnet10_shapes.py with soft distillation and attention transfer of decaying weight.
_base_ = ["./resnet10_shapes.py", "../_base_/aal_shapes.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.aal.teacher,
    transfer_head=dict(type="ActivationTransferHead", loss_weight=10.0),
    distill_head=dict(type="DistillHead", kind="soft", loss_weight=0.9, temperature=4.0),
)
default_hooks = dict(
    aal=dict(type="LambdaDecayHook", gammas=(0.8,)), accuracy=dict(type="TeacherAccuracyHook")
)
work_dir = "work_dirs/at-kd_resnet10_shapes"
