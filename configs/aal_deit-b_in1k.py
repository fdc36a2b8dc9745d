# tools/dist_train.sh configs/aal_deit-b_in1k.py 16
# Table 5: DeiT-B, distilled, with AAL on all of ImageNet; batch 16 × 64 as in deit-b_in1k.py.
_base_ = "./aal_deit-s_in1k.py"
model = dict(backbone=dict(arch="deit-base"), head=dict(in_channels=768))
train_dataloader = dict(batch_size=64)
