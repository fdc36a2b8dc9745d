# tools/train.py configs/attention_transfer/gradient_nin-thin-nobn_cifar10.py
# Gradient-based attention transfer to nin-thin without batch norm from nin-wide (AT, Table 3).
# β is our choice; the paper gives none.
_base_ = ["./nin-thin-nobn_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.nin_wide,
    transfer_head=dict(type="GradientTransferHead", kind="teacher", loss_weight=1.0),
)
