# tools/train.py configs/attention_transfer/at_resnet18_cub.py
# Attention transfer to ResNet-18 on the last two groups (AT, Table 4). Train resnet34_cub.py first.
_base_ = "./resnet18_cub.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="{{fileDirname}}/resnet34_cub.py",
        checkpoint="work_dirs/resnet34_cub/epoch_100.pth",
    ),
    transfer_head=_base_.attention,
)
default_hooks = dict(start=_base_.start)
