# tools/dist_train.sh configs/baselines/efficientnet-b3_cifar10-scratch.py 8
# Table 6's teacher: EfficientNet-B3, trained on CIFAR-10 alone. Its recipe is our choice.
_base_ = "./efficientnet-b3_cifar10.py"
model = dict(backbone=dict(pretrained=False))
train_cfg = dict(max_epochs=300)
