# tools/dist_train.sh configs/baselines/deit-s_cifar10-weak.py 8
# Table 6: deit-s_cifar10.py with random crops and flips alone.
_base_ = "./deit-s_cifar10.py"
model = dict(train_cfg=None)
train_dataloader = dict(dataset=dict(pipeline=_base_.weak_pipeline))
