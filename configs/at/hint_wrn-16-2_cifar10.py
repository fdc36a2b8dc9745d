# tools/train.py configs/at/hint_wrn-16-2_cifar10.py
# Hints (F-ActT) to wrn-16-2 from wrn-40-2 (AT, Table 1).
_base_ = "./wrn-16-2_cifar10.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="configs/at/wrn-40-2_cifar10.py",
        checkpoint="work_dirs/wrn-40-2_cifar10/epoch_200.pth",
    ),
    transfer_head=dict(type="HintHead", loss_weight=1.0),
)
custom_hooks = [dict(type="LambdaDecayHook", gammas=(0.98,))]
