# tools/train.py configs/shapes/aal_deit_shapes-strong.py
# aal_deit_shapes.py with DeiT's strong augmentation.
_base_ = ["./aal_deit_shapes.py", "../_base_/strong_shapes.py"]
model = dict(train_cfg=_base_.mixes)
train_dataloader = dict(dataset=dict(pipeline=_base_.strong_pipeline))
work_dir = "work_dirs/aal_deit_shapes-strong"
