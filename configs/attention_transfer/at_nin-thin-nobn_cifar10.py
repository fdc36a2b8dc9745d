# tools/train.py configs/attention_transfer/at_nin-thin-nobn_cifar10.py
# Attention transfer to nin-thin-nobn from nin-wide-norelu, between outputs of convolutions
# (AT, Table 3 and 4.1.3). Each group of the student ends with a convolution, so the groups are its
# levels.
_base_ = ["./nin-thin-nobn_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.nin_wide_norelu,
    transfer_head=_base_.attention,
)
