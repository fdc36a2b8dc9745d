# tools/train.py configs/attention_transfer/at_wrn-16-2_cifar10.py
# Attention transfer to wrn-16-2 from wrn-40-2 (AT, Table 1).
_base_ = ["./wrn-16-2_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.wrn_40_2,
    transfer_head=_base_.attention,
)
