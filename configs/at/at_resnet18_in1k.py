# tools/dist_train.sh configs/at/at_resnet18_in1k.py 8
# AT's Table 5: ResNet-18 on ImageNet from ResNet-34, on the last two stages.
_base_ = "mmpretrain::resnet/resnet18_8xb32_in1k.py"
custom_imports = dict(imports=["aal_plugin"], allow_failed_imports=False)
model = dict(
    type="AALClassifier",
    teacher=dict(type="TimmTeacher", model_name="resnet34", pretrained=True),
    transfer_head=dict(type="ActivationTransferHead", pairs=[(3, 3), (4, 4)]),
)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
