# tools/train.py configs/attention_transfer/wrn-16-2_cifar10.py
# WRN-16-2 on CIFAR-10 (attention transfer, Table 1).
_base_ = "../_base_/wrn_cifar10.py"
model = dict(backbone=dict(depth=16, widen_factor=2), head=dict(in_channels=128))
