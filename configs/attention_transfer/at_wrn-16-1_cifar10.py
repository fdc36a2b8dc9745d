# tools/train.py configs/attention_transfer/at_wrn-16-1_cifar10.py
# Attention transfer to wrn-16-1 from wrn-16-2 (AT, Table 1).
_base_ = ["./wrn-16-1_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.wrn_16_2,
    transfer_head=_base_.attention,
)
