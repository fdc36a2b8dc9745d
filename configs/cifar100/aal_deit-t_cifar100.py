# tools/train.py configs/cifar100/aal_deit-t_cifar100.py
# DeiT-Ti with AAL from the same ResNet-56: every block linked to its three stages.
_base_ = ["./deit-t_cifar100.py", "../_base_/cifar100_teacher.py"]
model = dict(type="AALClassifier", teacher=_base_.cifar100_teacher, link_head=_base_.link_head)
default_hooks = dict(aal=_base_.decay)
