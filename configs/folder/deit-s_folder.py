# tools/train.py configs/folder/deit-s_folder.py --cfg-options data_root=DIR epochs=100
# DeiT-S on an image folder of your own, from scratch, with DeiT's recipe. DeiT's code repeats
# augmentation on several GPUs only; there, add train_dataloader.sampler.type=RepeatAugSampler
_base_ = ["../_base_/deit-s.py", "../_base_/own_folder.py", "../_base_/deit_300e.py"]
auto_scale_lr = dict(enable=True)
