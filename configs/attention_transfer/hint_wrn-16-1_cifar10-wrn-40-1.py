# tools/train.py configs/attention_transfer/hint_wrn-16-1_cifar10-wrn-40-1.py
# Hints (F-ActT) to wrn-16-1 from wrn-40-1 (AT, Table 1).
_base_ = ["./wrn-16-1_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.wrn_40_1,
    transfer_head=dict(type="HintHead", loss_weight=1.0),
)
default_hooks = dict(decay=_base_.decay)
