# tools/train.py configs/attention_transfer/resnet18_scenes.py
# ResNet-18, fine-tuned on MIT Indoor Scenes (AT, Table 4): train/ and test/ hold one folder
# per class.
_base_ = "../_base_/finetune_224.py"
data_preprocessor = dict(num_classes=67)
model = dict(head=dict(num_classes=67))
scenes = dict(type="CustomDataset", data_root="data/scenes")
train_dataloader = dict(dataset=dict(**scenes, data_prefix="train"))
val_dataloader = dict(dataset=dict(**scenes, data_prefix="test"))
test_dataloader = dict(dataset=dict(**scenes, data_prefix="test"))
