# tools/dist_train.sh configs/baselines/convit-s_in1k.py 8
# ConViT-S, a baseline of the paper. Its code uses DeiT's recipe without the average of the weights;
# here the average is saved and not validated.
_base_ = "./deit-s_in1k.py"
model = dict(
    backbone=dict(
        _delete_=True, type="TIMMPooledBackbone", model_name="convit_small", drop_path_rate=0.1
    ),
    head=dict(in_channels=432, init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02)),
    init_cfg=None,  # timm's own; DeiT's would undo the convolutional start
)
