# tools/dist_train.sh configs/baselines/efficientnet-b3_cifar10.py 8
# Another teacher for Table 6: EfficientNet-B3 on CIFAR-10, from timm's ImageNet weights. Its recipe
# is our choice; the paper gives none.
_base_ = "./deit-s_cifar10.py"
model = dict(
    backbone=dict(
        _delete_=True, type="TIMMPooledBackbone", model_name="efficientnet_b3", pretrained=True
    ),
    head=dict(
        _delete_=True,
        type="LinearClsHead",
        num_classes=10,
        in_channels=1536,
        loss=dict(type="CrossEntropyLoss", use_soft=True),
    ),
    init_cfg=None,
)
train_cfg = dict(max_epochs=30)
