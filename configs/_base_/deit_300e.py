# DeiT's recipe as its code runs it: AdamW, lr 5e-4 · batch / 512 (here for batch 1024), no clipping.
# Its code uses autocast: add --amp. As there, an average of the weights is saved, and the raw weights
# are validated. With the timm 0.3.2 that it pins, its code decays dist_token. timm since 0.4.9 does
# not, and neither does this recipe.
_base_ = "mmpretrain::_base_/default_runtime.py"
custom_imports = dict(imports=["aal_plugin.mm"], allow_failed_imports=False)
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            ".cls_token": dict(decay_mult=0.0),
            ".dist_token": dict(decay_mult=0.0),
            ".pos_embed": dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = dict(type="DeiTLR", warmup_epochs=5, warmup_lr=1e-6, min_lr=1e-5)
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = test_cfg = dict()
auto_scale_lr = dict(base_batch_size=1024)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3),
    ema=dict(type="KeptEMAHook", momentum=4e-5, priority="ABOVE_NORMAL"),
)
