# tools/dist_train.sh configs/aal_deit-s_cifar10-ownteacher.py 8
# Table 6: DeiT-S on CIFAR-10, CE + AAL. Train its teacher first:
# configs/baselines/efficientnet-b3_cifar10-scratch.py
_base_ = ["./baselines/deit-s_cifar10.py", "./_base_/cifar10_teacher.py"]
model = dict(type="AALClassifier", teacher=_base_.cifar10_teacher, link_head=_base_.link_head)
default_hooks = dict(aal=_base_.decay)
