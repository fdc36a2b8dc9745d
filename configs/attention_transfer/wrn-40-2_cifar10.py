# tools/train.py configs/attention_transfer/wrn-40-2_cifar10.py
# WRN-40-2 on CIFAR-10 (attention transfer, Table 1).
_base_ = "../_base_/wrn_cifar10.py"
model = dict(backbone=dict(depth=40, widen_factor=2), head=dict(in_channels=128))
