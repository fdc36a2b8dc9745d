# Images of your own at 224 px with DeiT's augmentation: data_root/train/<class>/ and
# data_root/val/<class>/. tools/train.py finds the classes, and copies these three keys to the
# settings that need them (aal_plugin/mm/datasets/own_folder.py).
_base_ = "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py"
data_root = "data/images"
epochs = 300
batch_size = 64  # per GPU; lr follows the batch of all GPUs
own_folder = True
train_dataloader = dict(
    drop_last=True,
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_prefix="train",
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = test_dataloader = dict(
    dataset=dict(
        _delete_=True, type="CustomDataset", data_prefix="val", pipeline=_base_.test_pipeline
    ),
)
val_evaluator = test_evaluator = dict(type="Accuracy", topk=(1,))
