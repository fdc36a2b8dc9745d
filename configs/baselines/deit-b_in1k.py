# tools/dist_train.sh configs/baselines/deit-b_in1k.py 16
# DeiT-B without a teacher: the recipe of deit-s_in1k.py, batch 16 × 64.
_base_ = "./deit-s_in1k.py"
model = dict(backbone=dict(arch="deit-base"), head=dict(in_channels=768))
train_dataloader = dict(batch_size=64)
