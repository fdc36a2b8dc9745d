# tools/dist_train.sh configs/baselines/deit-s_cub.py 8
# DeiT-S on CUB-200-2011 from scratch, with DeiT's recipe.
_base_ = ["../_base_/deit-s.py", "../_base_/cub_224.py", "../_base_/deit_300e.py"]
model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=5e-4))  # for a batch of 8 × 64
auto_scale_lr = dict(base_batch_size=512)
