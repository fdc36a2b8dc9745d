# tools/train.py configs/attention_transfer/nin-thin_cifar10.py
# NIN-thin on CIFAR-10 (AT, Table 1). Its code is not published; the recipe is WRN's.
_base_ = "../_base_/wrn_cifar10.py"
model = dict(
    backbone=dict(_delete_=True, type="NetworkInNetwork", width=96),
    head=dict(in_channels=96),
)
