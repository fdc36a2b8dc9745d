# tools/train.py configs/attention_transfer/nin-wide_cifar10.py
# NIN-wide on CIFAR-10 (attention transfer, Table 1).
_base_ = "../_base_/wrn_cifar10.py"
model = dict(
    backbone=dict(_delete_=True, type="NetworkInNetwork", width=208),
    head=dict(in_channels=208),
)
