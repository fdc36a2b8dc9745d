# tools/dist_train.sh configs/baselines/efficientnet-b3_cifar10-scratch.py 8
# Table 6's teacher: EfficientNet-B3 that knows CIFAR-10 alone. Its training is ours.
_base_ = "./efficientnet-b3_cifar10.py"
model = dict(backbone=dict(pretrained=False))
train_cfg = dict(max_epochs=300)
