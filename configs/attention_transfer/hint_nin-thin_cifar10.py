# tools/train.py configs/attention_transfer/hint_nin-thin_cifar10.py
# Hints (F-ActT) to nin-thin from nin-wide (AT, Table 1).
_base_ = ["./nin-thin_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.nin_wide,
    transfer_head=dict(type="HintHead", loss_weight=1.0),
)
default_hooks = dict(decay=_base_.decay)
