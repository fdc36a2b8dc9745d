# tools/dist_train.sh configs/baselines/deit-s_in1k.py 8
# DeiT-S, the baseline: DeiT's recipe, batch 8 × 128.
_base_ = ["../_base_/deit-s.py", "../_base_/imagenet_224.py", "../_base_/deit_300e.py"]
