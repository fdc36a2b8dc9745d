# tools/dist_train.sh configs/convit-s_cifar10.py 8
# Table 3: ConViT-S on CIFAR-10.
_base_ = "./deit-s_cifar10.py"
model = dict(
    backbone=dict(
        _delete_=True, type="TIMMPooledBackbone", model_name="convit_small", drop_path_rate=0.1
    ),
    head=dict(in_channels=432),
    init_cfg=None,  # timm's own; MMPretrain's would undo the convolutional start
)
