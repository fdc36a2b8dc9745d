# tools/dist_train.sh configs/convit-s_in1k.py 8
# ConViT-S, a baseline of the paper, with the recipe of deit-s_in1k.py.
_base_ = "./deit-s_in1k.py"
model = dict(
    backbone=dict(
        _delete_=True, type="TIMMPooledBackbone", model_name="convit_small", drop_path_rate=0.1
    ),
    head=dict(in_channels=432),
    init_cfg=None,  # timm's own; MMPretrain's would undo the convolutional start
)
