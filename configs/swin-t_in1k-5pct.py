# tools/dist_train.sh configs/swin-t_in1k-5pct.py 8
# Swin-T on 5% of each class, with MMPretrain's recipe, batch 8 × 128.
_base_ = "mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py"
custom_imports = dict(imports=["aal_plugin"], allow_failed_imports=False)
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        _delete_=True,
        type="ClassBalancedSubset",
        fraction=0.05,
        seed=0,
        dataset=_base_.train_dataloader.dataset,
    ),
)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
