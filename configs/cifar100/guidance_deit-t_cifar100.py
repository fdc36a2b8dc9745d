# tools/train.py configs/cifar100/guidance_deit-t_cifar100.py
# DeiT-Ti with locality guidance from ResNet-56 (deit-ti_c100_ours.yaml).
_base_ = ["./deit-t_cifar100.py", "../_base_/cifar100_teacher.py"]
model = dict(type="AALClassifier", teacher=_base_.cifar100_teacher, guidance=_base_.guidance)
