# tools/dist_train.sh configs/baselines/deit-s_in1k-30pct.py 8
# DeiT-S, the baseline, on 30% of each class of ImageNet.
_base_ = "./deit-s_in1k.py"
train_dataloader = dict(dataset=dict(fraction=0.3))
