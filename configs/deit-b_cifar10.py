# tools/dist_train.sh configs/deit-b_cifar10.py 8
# Table 3: DeiT-B on CIFAR-10. DeiT itself took 7,200 epochs to the figure that the paper quotes.
_base_ = "./deit-s_cifar10.py"
model = dict(backbone=dict(arch="deit-base"), head=dict(in_channels=768))
