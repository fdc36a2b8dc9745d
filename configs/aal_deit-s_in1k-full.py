# tools/dist_train.sh configs/aal_deit-s_in1k-full.py 8
# DeiT-S with AAL on all of ImageNet, every block linked to every level.
_base_ = "./aal_deit-s_in1k.py"
model = dict(link_head=dict(links="full"))
