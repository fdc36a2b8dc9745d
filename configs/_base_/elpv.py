# ELPV: photographs of solar cells by electroluminescence, functional or defective, at 128 px in grey.
# `tools/real_images.py` lays them into data/elpv with lists of three folds (CC BY-NC-SA: to evaluate).
_base_ = "mmpretrain::_base_/default_runtime.py"
custom_imports = dict(imports=["aal_plugin.mm"], allow_failed_imports=False)

data_preprocessor = dict(num_classes=2, mean=[143.8], std=[46.3], to_rgb=False)
cells = dict(
    type="CustomDataset",
    data_root="data/elpv",
    data_prefix="images",
    classes=["functional", "defective"],
)
load = dict(type="LoadImageFromFile", color_type="grayscale")
train_pipeline = [
    load,
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),
    dict(type="PackInputs"),
]
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(cells, ann_file="train_0.txt", pipeline=train_pipeline),
    sampler=dict(type="DefaultSampler", shuffle=True),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(cells, ann_file="val_0.txt", pipeline=[load, dict(type="PackInputs")]),
    sampler=dict(type="DefaultSampler", shuffle=False),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader["dataset"], ann_file="test_0.txt")
)
val_evaluator = test_evaluator = dict(type="Accuracy", topk=(1,))
val_cfg = test_cfg = dict()
randomness = dict(seed=0)
default_hooks = dict(logger=dict(interval=28), checkpoint=dict(interval=20, max_keep_ckpts=1))
