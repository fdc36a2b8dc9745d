# tools/dist_train.sh configs/baselines/deit-s_cifar10.py 8
# Table 6, cross-entropy alone: DeiT-S, distilled version, on CIFAR-10 at 224 px from scratch.
# Without a teacher the mean of its two heads learns the label; DeiT's code would train the first
# head alone.
_base_ = ["../_base_/deit-s.py", "../_base_/cifar10_224.py", "../_base_/deit_300e.py"]
model = dict(
    backbone=dict(type="DistilledVisionTransformer"),
    head=dict(type="DeiTClsHead", num_classes=10),
)
