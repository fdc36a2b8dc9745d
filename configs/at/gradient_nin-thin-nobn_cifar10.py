# tools/train.py configs/at/gradient_nin-thin-nobn_cifar10.py
# Gradient-based attention transfer to nin-thin without batch norm from nin-wide (AT, Table 3).
_base_ = "./nin-thin-nobn_cifar10.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="configs/at/nin-wide_cifar10.py",
        checkpoint="work_dirs/nin-wide_cifar10/epoch_200.pth",
    ),
    transfer_head=dict(type="GradientTransferHead", kind="teacher", loss_weight=1.0),
)
