# tools/train.py configs/attention_transfer/nin-thin-nobn_cifar10.py
# Thin NIN without batch norm, flips alone, no weight decay: the baseline of AT's Table 3 (4.1.3).
# The lr is our choice: the paper gives none for networks without batch norm.
_base_ = "./nin-thin_cifar10.py"
model = dict(backbone=dict(batch_norm=False))
train_pipeline = [
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.01, weight_decay=0.0))
