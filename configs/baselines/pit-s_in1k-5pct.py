# tools/dist_train.sh configs/baselines/pit-s_in1k-5pct.py 8
# Table 7: PiT-S on 5% of each class, with DeiT's recipe, as PiT's authors trained it. timm's drop
# path rises to 0.1 at the last block, the authors' to 0.092. The head has torch's own first weights.
_base_ = "./deit-s_in1k.py"
model = dict(
    backbone=dict(
        _delete_=True, type="TIMMPooledBackbone", model_name="pit_s_224", drop_path_rate=0.1
    ),
    head=dict(in_channels=576, init_cfg=None),
    init_cfg=None,
)
train_dataloader = dict(dataset=dict(fraction=0.05))
