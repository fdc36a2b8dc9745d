# tools/dist_train.sh configs/aal_deit-b_in1k.py 16
# Table 5: DeiT-B, distilled, with AAL on all of ImageNet; batch 16 × 64 and as deit-b_in1k.py else.
_base_ = "./aal_deit-s_in1k.py"
model = dict(
    backbone=dict(arch="deit-base", drop_path_rate=0.1),
    head=dict(in_channels=768),
)
train_dataloader = dict(batch_size=64)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="EMAHook", momentum=4e-5, priority="ABOVE_NORMAL"),
]
