# tools/train.py configs/attention_transfer/symmetry_nin-thin-nobn_cifar10.py
# Thin NIN without batch norm, with gradients at the image that are symmetric under a flip; no
# teacher (AT, Table 3). Losses on gradients and on outputs (3.2). β is our choice; the paper gives
# none.
_base_ = "./nin-thin-nobn_cifar10.py"
model = dict(
    type="AALClassifier",
    transfer_head=dict(type="GradientTransferHead", kind="symmetry", loss_weight=1.0),
)
