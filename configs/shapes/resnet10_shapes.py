# tools/train.py configs/shapes/resnet10_shapes.py
# A thin ResNet-10, a quarter of quickstart_teacher.py's, on 2,000 images.
_base_ = "./quickstart_teacher.py"
model = dict(
    backbone=dict(stem_channels=8, base_channels=8),
    head=dict(in_channels=64),
)
train_dataloader = dict(batch_size=50, dataset=dict(num_images=2000))
param_scheduler = dict(
    type="OneCycleLR", eta_max=4e-3, total_steps=10, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(max_epochs=10, val_interval=5)
work_dir = "work_dirs/resnet10_shapes"
