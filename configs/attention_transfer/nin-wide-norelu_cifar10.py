# tools/train.py configs/attention_transfer/nin-wide-norelu_cifar10.py
# NIN-wide without ReLU before pooling: the teacher of at_nin-thin-nobn_cifar10.py (AT, 4.1.3).
_base_ = "./nin-wide_cifar10.py"
model = dict(backbone=dict(relu_before_pooling=False))
