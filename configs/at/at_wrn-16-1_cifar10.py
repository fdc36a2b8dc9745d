# tools/train.py configs/at/at_wrn-16-1_cifar10.py
# Attention transfer to wrn-16-1 from wrn-16-2 (AT, Table 1).
_base_ = "./wrn-16-1_cifar10.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="configs/at/wrn-16-2_cifar10.py",
        checkpoint="work_dirs/wrn-16-2_cifar10/epoch_200.pth",
    ),
    transfer_head=dict(type="ActivationTransferHead", loss_weight=1000.0),
)
