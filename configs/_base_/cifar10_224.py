# CIFAR-10 at 224 px, as in DeiT: strong augmentation, and the paper's weak one (Table 6).
# MMPretrain reads its images as RGB, so the preprocessor must not swap the channels.
data_preprocessor = dict(
    num_classes=10,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=False,
)
resize = dict(type="Resize", scale=(224, 224), backend="pillow", interpolation="bicubic")
test_pipeline = [
    dict(type="Resize", scale=(256, 256), backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
strong_pipeline = [
    dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[124, 116, 104], interpolation="bicubic"),
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.25,
        mode="rand",
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[123.675, 116.28, 103.53],
        fill_std=[58.395, 57.12, 57.375],
    ),
    dict(type="PackInputs"),
]
weak_pipeline = [
    dict(type="RandomCrop", crop_size=32, padding=4),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    resize,
    dict(type="PackInputs"),
]
cifar10 = dict(type="CIFAR10", data_root="data/cifar10")
train_dataloader = dict(
    batch_size=128,
    num_workers=5,
    drop_last=True,
    dataset=dict(**cifar10, split="train", pipeline=strong_pipeline),
    sampler=dict(type="RepeatAugSampler", num_repeats=3),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=5,
    dataset=dict(**cifar10, split="test", pipeline=test_pipeline),
    sampler=dict(type="DefaultSampler", shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type="Accuracy", topk=(1, 5))
