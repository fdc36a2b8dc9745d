# tools/train.py configs/attention_transfer/wrn-16-1_cifar10.py
# WRN-16-1 on CIFAR-10 (attention transfer, Table 1).
_base_ = "../_base_/wrn_cifar10.py"
model = dict(backbone=dict(depth=16, widen_factor=1), head=dict(in_channels=64))
