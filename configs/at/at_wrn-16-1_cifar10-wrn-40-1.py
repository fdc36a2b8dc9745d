# tools/train.py configs/at/at_wrn-16-1_cifar10-wrn-40-1.py
# Attention transfer to wrn-16-1 from wrn-40-1 (AT, Table 1).
_base_ = "./wrn-16-1_cifar10.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="configs/at/wrn-40-1_cifar10.py",
        checkpoint="work_dirs/wrn-40-1_cifar10/epoch_200.pth",
    ),
    transfer_head=dict(type="ActivationTransferHead", loss_weight=1000.0),
)
