# Fashion-MNIST: photographs of 28 px in grey, 50 of each class to train on. `tools/real_images.py` lays
# the files into data/; with a network MMPretrain downloads them there.
_base_ = "mmpretrain::_base_/default_runtime.py"
custom_imports = dict(imports=["aal_plugin.mm"], allow_failed_imports=False)

data_preprocessor = dict(num_classes=10, mean=[72.9], std=[90.0], to_rgb=False)
fashion = dict(type="FashionMNIST", data_root="data/fashion-mnist")
train_pipeline = [
    dict(type="RandomCrop", crop_size=28, padding=2),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type="ClassBalancedSubset",
        fraction=0.01,  # 500 images
        dataset=dict(fashion, split="train", indices=50000, pipeline=train_pipeline),
    ),
    sampler=dict(type="DefaultSampler", shuffle=True),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(fashion, split="train", indices=-5000, pipeline=[dict(type="PackInputs")]),
    sampler=dict(type="DefaultSampler", shuffle=False),
)
# Choose settings on the validation images; report these. Without test_mode, MMPretrain's FashionMNIST
# reads the training images, whatever `split` says.
test_dataloader = dict(
    val_dataloader,
    dataset=dict(fashion, split="test", test_mode=True, pipeline=[dict(type="PackInputs")]),
)
val_evaluator = test_evaluator = dict(type="Accuracy", topk=(1,))
val_cfg = test_cfg = dict()
randomness = dict(seed=0)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=40, max_keep_ckpts=1))
