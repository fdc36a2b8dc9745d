# tools/dist_train.sh configs/baselines/deit-t_in1k.py 8
# DeiT-Ti without a teacher: the recipe of deit-s_in1k.py.
_base_ = "./deit-s_in1k.py"
model = dict(backbone=dict(arch="deit-tiny"), head=dict(in_channels=192))
