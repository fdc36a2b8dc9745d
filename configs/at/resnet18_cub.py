# tools/train.py configs/at/resnet18_cub.py
# ResNet-18, fine-tuned on CUB-200-2011 (AT, Table 4).
_base_ = "../_base_/finetune_224.py"
cub = dict(type="CUB", data_root="data/CUB_200_2011")
train_dataloader = dict(dataset=dict(**cub, split="train"))
val_dataloader = dict(dataset=dict(**cub, split="test"))
test_dataloader = dict(dataset=dict(**cub, split="test"))
