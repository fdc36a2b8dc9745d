# CIFAR-100 at 224 px as in Locality Guidance's code (transforms.py, loader.py): DeiT's augmentation
# without Mixup and repeated augmentation; test images are resized, not cropped.
_base_ = "./cifar10_224.py"
cifar100 = dict(type="CIFAR100", data_root="data/cifar100")
data_preprocessor = dict(num_classes=100)
test_pipeline = [dict(type="Resize", scale=(224, 224), backend="pillow"), dict(type="PackInputs")]
train_dataloader = dict(
    num_workers=4,
    dataset=cifar100,
    sampler=dict(_delete_=True, type="DefaultSampler", shuffle=True),
)
val_dataloader = dict(batch_size=200, num_workers=4, dataset=dict(cifar100, pipeline=test_pipeline))
test_dataloader = val_dataloader
