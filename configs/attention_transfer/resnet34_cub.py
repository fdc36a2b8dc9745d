# tools/train.py configs/attention_transfer/resnet34_cub.py
# ResNet-34, fine-tuned on CUB-200-2011: the teacher of at_resnet18_cub.py.
_base_ = "./resnet18_cub.py"
model = dict(
    backbone=dict(depth=34, init_cfg=dict(checkpoint="torchvision://resnet34")),
)
