# tools/train.py configs/at/nin-thin_cifar10.py
# NIN-thin on CIFAR-10 (attention transfer, Table 1).
_base_ = "../_base_/wrn_cifar10.py"
model = dict(
    backbone=dict(_delete_=True, type="NetworkInNetwork", width=96),
    head=dict(in_channels=96),
)
