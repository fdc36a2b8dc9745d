# tools/train.py configs/attention_transfer/at_resnet18_scenes.py
# Attention transfer to ResNet-18 on the last two groups (AT, Table 4). Train resnet34_scenes.py
# first.
_base_ = "./resnet18_scenes.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="{{fileDirname}}/resnet34_scenes.py",
        checkpoint="work_dirs/resnet34_scenes/epoch_100.pth",
    ),
    transfer_head=_base_.attention,
)
default_hooks = dict(start=_base_.start)
