# tools/train.py configs/at/symmetry_nin-thin-nobn_cifar10.py
# Thin NIN without batch norm, symmetry of the gradient of its input; no teacher (AT, Table 3).
_base_ = "./nin-thin-nobn_cifar10.py"
model = dict(
    type="AALClassifier",
    transfer_head=dict(type="GradientTransferHead", kind="symmetry", loss_weight=1.0),
)
