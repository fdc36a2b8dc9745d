# tools/dist_train.sh configs/deit-b_in1k.py 16
# DeiT-B without a teacher: the recipe of deit-s_in1k.py, batch 16 × 64, stochastic depth.
_base_ = "./deit-s_in1k.py"
model = dict(
    backbone=dict(arch="deit-base", drop_path_rate=0.1),
    head=dict(in_channels=768),
)
train_dataloader = dict(batch_size=64)
custom_hooks = [dict(type="EMAHook", momentum=4e-5, priority="ABOVE_NORMAL")]
