# tools/dist_train.sh configs/deit/deit-b_in1k-token-384px.py 16
# DeiT-B at 384 px, 30 epochs from deit-b_in1k-token.py's checkpoint. DeiT's augmentation and the
# teacher are at 384 px too, as in the paper; DeiT's code fine-tunes without a teacher. Its lr
# (5e-6 · 512 / 512) is constant after the warm-up. Its model is in eval mode: no drop path.
_base_ = "./deit-b_in1k-token.py"
model = dict(backbone=dict(img_size=384, drop_path_rate=0.0))
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[1].scale = test_pipeline[2].crop_size = 384
test_pipeline[1].scale = 438  # 384 · 256 / 224
train_dataloader = dict(batch_size=32, dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
load_from = "work_dirs/deit-b_in1k-token/epoch_300.pth"
optim_wrapper = dict(optimizer=dict(lr=5e-6, weight_decay=1e-8))
param_scheduler = dict(min_lr=5e-6)
train_cfg = dict(max_epochs=30)
auto_scale_lr = dict(base_batch_size=512)
