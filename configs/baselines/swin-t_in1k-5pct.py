# tools/dist_train.sh configs/baselines/swin-t_in1k-5pct.py 8
# Swin-T on 5% of each class, with Swin's own recipe: batch 8 × 128, 20 warm-up epochs, lr by
# iteration, clipping at 5, no repeated augmentation, no average of the weights.
_base_ = [
    "mmpretrain::_base_/models/swin_transformer/tiny_224.py",
    "../_base_/imagenet_224.py",
    "mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py",
    "mmpretrain::_base_/default_runtime.py",
]
custom_imports = dict(imports=["aal_plugin.mm"], allow_failed_imports=False)
train_dataloader = dict(
    dataset=dict(fraction=0.05),
    sampler=dict(_delete_=True, type="DefaultSampler", shuffle=True),
)
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
param_scheduler = _base_.param_scheduler
param_scheduler[1].convert_to_iter_based = True
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
