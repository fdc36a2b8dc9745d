# tools/dist_train.sh configs/deit-s_in1k.py 8
# DeiT-S, the baseline: MMPretrain's recipe with DeiT's five epochs of warm-up, batch 8 × 128.
_base_ = "mmpretrain::deit/deit-small_4xb256_in1k.py"
custom_imports = dict(imports=["aal_plugin"], allow_failed_imports=False)
train_dataloader = dict(batch_size=128)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=True, begin=5),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
