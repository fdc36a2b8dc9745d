# tools/train.py configs/attention_transfer/kd_nin-thin_cifar10.py
# Soft distillation to nin-thin from nin-wide (AT, Table 1).
_base_ = ["./nin-thin_cifar10.py", "../_base_/at_cifar10.py"]
model = dict(
    type="AALClassifier",
    teacher=_base_.nin_wide,
    distill_head=_base_.nin_knowledge,
)
default_hooks = dict(accuracy=_base_.accuracy)
