# tools/dist_train.sh configs/pit-s_in1k-5pct.py 8
# Table 7: PiT-S on 5% of each class, with the recipe of deit-s_in1k.py.
_base_ = "./deit-s_in1k.py"
model = dict(
    backbone=dict(_delete_=True, type="TIMMPooledBackbone", model_name="pit_s_224"),
    head=dict(in_channels=576),
    init_cfg=None,
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="ClassBalancedSubset",
        fraction=0.05,
        seed=0,
        dataset=_base_.train_dataloader.dataset,
    )
)
