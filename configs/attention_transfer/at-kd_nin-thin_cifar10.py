# tools/train.py configs/attention_transfer/at-kd_nin-thin_cifar10.py
# Soft distillation and attention transfer of decaying weight to nin-thin (AT, Table 1).
_base_ = ["./nin-thin_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.nin_wide,
    transfer_head=_base_.attention,
    distill_head=_base_.nin_knowledge,
)
default_hooks = dict(decay=_base_.decay, accuracy=_base_.accuracy)
