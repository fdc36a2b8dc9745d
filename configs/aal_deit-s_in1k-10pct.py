# tools/dist_train.sh configs/aal_deit-s_in1k-10pct.py 8
# DeiT-S with AAL on 10% of each class of ImageNet: alpha links.
_base_ = "./aal_deit-s_in1k.py"
model = dict(link_head=dict(links="alpha"))
train_dataloader = dict(dataset=dict(fraction=0.1))
