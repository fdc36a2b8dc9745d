# tools/dist_train.sh configs/aal_deit-s_in1k-5pct-full.py 8
# DeiT-S with AAL on 5% of each class of ImageNet: every block linked to every level.
_base_ = "./aal_deit-s_in1k-full.py"
train_dataloader = dict(dataset=dict(fraction=0.05))
