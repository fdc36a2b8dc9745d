# tools/dist_train.sh configs/aal_deit-s_in1k.py 8
# DeiT-S, distilled, with AAL on all of ImageNet: EfficientNet-B3 as teacher, beta links, and its
# hard labels for the distillation token.
_base_ = "./baselines/deit-s_in1k.py"
model = dict(
    type="AALClassifier",
    backbone=dict(type="DistilledVisionTransformer"),
    head=dict(type="DeiTClsHead"),
    teacher=dict(type="TimmTeacher", model_name="efficientnet_b3", pretrained=True),
    link_head=dict(type="AttentionLinkHead", links="beta", loss_weight=2000.0),
    distill_head=dict(type="DistillHead", kind="hard", token=True),
)
default_hooks = dict(
    aal=dict(type="LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,)),
    accuracy=dict(type="TeacherAccuracyHook"),
)
