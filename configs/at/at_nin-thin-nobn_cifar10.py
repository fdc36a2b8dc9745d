# tools/train.py configs/at/at_nin-thin-nobn_cifar10.py
# Attention transfer to nin-thin-nobn from nin-wide (AT, Table 3).
_base_ = ["./nin-thin-nobn_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.nin_wide,
    transfer_head=_base_.attention,
)
