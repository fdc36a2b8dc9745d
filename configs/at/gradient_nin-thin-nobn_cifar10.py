# tools/train.py configs/at/gradient_nin-thin-nobn_cifar10.py
# AT's Table 3, gradient-based; symmetry and min-l2 by
#   --cfg-options model.transfer_head.kind=symmetry    (or =norm)
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
