# tools/train.py configs/attention_transfer/kd_resnet18_scenes.py
# Soft distillation to ResNet-18 (AT, Table 4). Train resnet34_scenes.py first.
_base_ = "./resnet18_scenes.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="{{fileDirname}}/resnet34_scenes.py",
        checkpoint="work_dirs/resnet34_scenes/epoch_100.pth",
    ),
    distill_head=_base_.knowledge,
)
default_hooks = dict(accuracy=dict(type="TeacherAccuracyHook"))
