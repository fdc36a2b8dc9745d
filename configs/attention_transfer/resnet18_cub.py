# tools/train.py configs/attention_transfer/resnet18_cub.py
# ResNet-18, fine-tuned on CUB-200-2011, cropped to its bounding boxes (AT, Table 4 and 4.2.1). The
# paper crops and rescales its images; we understand that to include the test images.
_base_ = "../_base_/finetune_224.py"
cub = dict(type="CUBWithBoxes", data_root="data/CUB_200_2011")
box = [dict(type="LoadImageFromFile"), dict(type="CropToBox")]
train_dataloader = dict(
    dataset=dict(**cub, split="train", pipeline=[*box, *_base_.train_pipeline[1:]])
)
val_dataloader = dict(dataset=dict(**cub, split="test", pipeline=[*box, *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader
