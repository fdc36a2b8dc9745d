# ImageNet, or a share of each class of it (fraction), at 224 px with DeiT's augmentation.
# Each epoch sees a third of the images three times, on different GPUs (repeated augmentation).
_base_ = "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py"
train_dataloader = dict(
    batch_size=128,
    drop_last=True,
    dataset=dict(
        _delete_=True,
        type="ClassBalancedSubset",
        fraction=1.0,
        dataset=_base_.train_dataloader.dataset,
    ),
    sampler=dict(type="RepeatAugSampler", num_repeats=3),
)
