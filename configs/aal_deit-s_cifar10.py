# tools/dist_train.sh configs/aal_deit-s_cifar10.py 8
# Table 3: DeiT-S with AAL on CIFAR-10, the teacher trained on ImageNet.
_base_ = ["./baselines/deit-s_cifar10.py", "./_base_/aal_in1k.py"]
model = dict(_base_.aal, images_rgb=True)
default_hooks = dict(aal=_base_.decay)
