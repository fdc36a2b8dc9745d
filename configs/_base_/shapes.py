# The embedded shapes set: 2,000 training images of 48 px, random shifts only.
_base_ = "mmpretrain::_base_/default_runtime.py"
custom_imports = dict(imports=["aal_plugin.mm"], allow_failed_imports=False)

data_preprocessor = dict(num_classes=10, mean=[127.5] * 3, std=[64.0] * 3, to_rgb=True)
train_pipeline = [
    dict(type="RandomCrop", crop_size=48, padding=4),
    dict(type="PackInputs"),
]
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type="ShapesDataset", split="train", num_images=2000, size=48, pipeline=train_pipeline
    ),
    sampler=dict(type="DefaultSampler", shuffle=True),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type="ShapesDataset",
        split="val",
        num_images=1000,
        size=48,
        pipeline=[dict(type="PackInputs")],
    ),
    sampler=dict(type="DefaultSampler", shuffle=False),
)
test_dataloader = dict(  # choose settings on the validation images; report these
    val_dataloader, dataset=dict(val_dataloader["dataset"], split="test", num_images=2000)
)
val_evaluator = test_evaluator = dict(type="Accuracy", topk=(1,))
val_cfg = test_cfg = dict()
randomness = dict(seed=0)
default_hooks = dict(logger=dict(interval=10))
