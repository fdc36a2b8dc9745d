# tools/train.py configs/attention_transfer/norm_nin-thin-nobn_cifar10.py
# Thin NIN without batch norm, with the l2 norm of the loss gradient at the image as a penalty; no
# teacher (AT, Table 3, min-l2). β is our choice; the paper gives none.
_base_ = "./nin-thin-nobn_cifar10.py"
model = dict(
    type="AALClassifier",
    transfer_head=dict(type="GradientTransferHead", kind="norm", loss_weight=1.0),
)
