# tools/train.py configs/cifar100/aal-guidance_deit-t_cifar100.py
# DeiT-Ti with AAL and locality guidance from one teacher.
_base_ = "./aal_deit-t_cifar100.py"
model = dict(guidance=_base_.guidance)
