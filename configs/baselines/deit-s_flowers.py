# tools/dist_train.sh configs/baselines/deit-s_flowers.py 8
# DeiT-S on Oxford Flowers-102 from scratch, with DeiT's recipe.
_base_ = ["../_base_/deit-s.py", "../_base_/flowers_224.py", "../_base_/deit_300e.py"]
model = dict(head=dict(num_classes=102))
optim_wrapper = dict(optimizer=dict(lr=5e-4))  # for a batch of 8 × 64
auto_scale_lr = dict(base_batch_size=512)
