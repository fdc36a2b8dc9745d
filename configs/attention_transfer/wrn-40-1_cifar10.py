# tools/train.py configs/attention_transfer/wrn-40-1_cifar10.py
# WRN-40-1 on CIFAR-10 (attention transfer, Table 1).
_base_ = "../_base_/wrn_cifar10.py"
model = dict(backbone=dict(depth=40, widen_factor=1), head=dict(in_channels=64))
