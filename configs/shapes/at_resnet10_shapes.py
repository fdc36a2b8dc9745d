# tools/train.py configs/shapes/at_resnet10_shapes.py    (after configs/shapes/quickstart_teacher.py)
# The ResNet of resnet10_shapes.py with attention transfer on all four stages. The grids are smaller
# than CIFAR's, and so is the weight.
_base_ = ["./resnet10_shapes.py", "../_base_/aal_shapes.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.aal.teacher,
    transfer_head=dict(type="ActivationTransferHead", loss_weight=10.0),
)
work_dir = "work_dirs/at_resnet10_shapes"
