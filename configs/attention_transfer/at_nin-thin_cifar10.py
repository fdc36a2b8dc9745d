# tools/train.py configs/attention_transfer/at_nin-thin_cifar10.py
# Attention transfer to nin-thin from nin-wide (AT, Table 1).
_base_ = ["./nin-thin_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.nin_wide,
    transfer_head=_base_.attention,
)
