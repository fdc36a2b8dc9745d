# tools/train.py configs/shapes/deit_shapes-soft-strong.py
# deit_shapes-soft.py with DeiT's strong augmentation.
_base_ = ["./deit_shapes-soft.py", "../_base_/strong_shapes.py"]
model = dict(train_cfg=_base_.mixes)
train_dataloader = dict(dataset=dict(pipeline=_base_.strong_pipeline))
work_dir = "work_dirs/deit_shapes-soft-strong"
