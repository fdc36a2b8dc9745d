# tools/dist_train.sh configs/deit-s_cifar10.py 8
# DeiT-S on CIFAR-10 at 224 px from scratch, with DeiT's recipe: cross-entropy alone (Table 6).
_base_ = ["./_base_/deit-s.py", "./_base_/cifar10_224.py", "./_base_/deit_300e.py"]
model = dict(head=dict(num_classes=10))
