# tools/dist_train.sh configs/aal_deit-b_in1k.py 16
# Table 5: DeiT-B, distilled, with AAL on all of ImageNet and EfficientNet-B3 as teacher.
_base_ = "./deit-b_in1k.py"
model = dict(
    type="AALClassifier",
    backbone=dict(type="DistilledVisionTransformer"),
    head=dict(type="DeiTClsHead"),
    teacher=dict(type="TimmTeacher", model_name="efficientnet_b3", pretrained=True),
    link_head=dict(type="AttentionLinkHead", links="beta", loss_weight=2000.0),
    distill_head=dict(type="DistillHead", kind="hard", token=True),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,)),
    dict(type="TeacherAccuracyHook"),
]
