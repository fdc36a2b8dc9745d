# tools/train.py configs/attention_transfer/resnet34_scenes.py
# ResNet-34, fine-tuned on MIT Indoor Scenes: the teacher of at_resnet18_scenes.py.
_base_ = "./resnet18_scenes.py"
model = dict(
    backbone=dict(depth=34, init_cfg=dict(checkpoint="torchvision://resnet34")),
)
