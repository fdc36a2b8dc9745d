# DeiT's strong augmentation, for images of 48 px.
strong_pipeline = [
    dict(type="RandomResizedCrop", scale=48, crop_ratio_range=(0.4, 1.0)),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[127] * 3, interpolation="bicubic"),
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.25,
        mode="rand",
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[127] * 3,
        fill_std=[64] * 3,
    ),
    dict(type="PackInputs"),
]
mixes = dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)])
