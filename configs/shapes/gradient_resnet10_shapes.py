# tools/train.py configs/shapes/gradient_resnet10_shapes.py    (after configs/shapes/quickstart_teacher.py)
# The ResNet of resnet10_shapes.py with attention transfer by the gradient at the image.
_base_ = ["./resnet10_shapes.py", "../_base_/aal_shapes.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.aal.teacher,
    transfer_head=dict(type="GradientTransferHead", kind="teacher", loss_weight=1.0),
)
work_dir = "work_dirs/gradient_resnet10_shapes"
