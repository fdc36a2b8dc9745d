# tools/train.py configs/attention_transfer/norm_nin-thin-nobn_cifar10.py
# Thin NIN without batch norm, min-l2 of the gradient of its input; no teacher (AT, Table 3).
# β is ours, the paper gives none.
_base_ = "./nin-thin-nobn_cifar10.py"
model = dict(
    type="AALClassifier",
    transfer_head=dict(type="GradientTransferHead", kind="norm", loss_weight=1.0),
)
