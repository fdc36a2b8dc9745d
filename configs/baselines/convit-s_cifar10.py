# tools/dist_train.sh configs/baselines/convit-s_cifar10.py 8
# Table 3: ConViT-S on CIFAR-10, with convit-s_in1k.py's recipe.
_base_ = "./deit-s_cifar10.py"
model = dict(
    backbone=dict(
        _delete_=True, type="TIMMPooledBackbone", model_name="convit_small", drop_path_rate=0.1
    ),
    head=dict(
        type="VisionTransformerClsHead",
        in_channels=432,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
    init_cfg=None,  # timm's own; DeiT's would undo the convolutional start
)
