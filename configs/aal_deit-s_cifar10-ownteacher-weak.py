# tools/dist_train.sh configs/aal_deit-s_cifar10-ownteacher-weak.py 8
# Table 6: aal_deit-s_cifar10-ownteacher.py with random crops and flips alone.
_base_ = "./aal_deit-s_cifar10-ownteacher.py"
model = dict(train_cfg=None)
train_dataloader = dict(dataset=dict(pipeline=_base_.weak_pipeline))
