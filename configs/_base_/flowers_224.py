# Oxford Flowers-102 at 224 px, with DeiT's augmentation.
_base_ = "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py"
data_preprocessor = dict(num_classes=102)
train_dataloader = dict(
    batch_size=64,
    drop_last=True,
    dataset=dict(type="Flowers102", data_root="data/Flowers102", split="trainval"),
    sampler=dict(type="RepeatAugSampler", num_repeats=3),
)
val_dataloader = dict(dataset=dict(type="Flowers102", data_root="data/Flowers102", split="test"))
test_dataloader = val_dataloader
