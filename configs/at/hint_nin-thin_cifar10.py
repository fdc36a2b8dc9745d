# tools/train.py configs/at/hint_nin-thin_cifar10.py
# Hints (F-ActT) to nin-thin from nin-wide (AT, Table 1).
_base_ = "./nin-thin_cifar10.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="configs/at/nin-wide_cifar10.py",
        checkpoint="work_dirs/nin-wide_cifar10/epoch_200.pth",
    ),
    transfer_head=dict(type="HintHead", loss_weight=1.0),
)
custom_hooks = [dict(type="LambdaDecayHook", gammas=(0.98,))]
