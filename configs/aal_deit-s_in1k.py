# tools/dist_train.sh configs/aal_deit-s_in1k.py 8
# DeiT-S with AAL on all of ImageNet: EfficientNet-B3 as teacher, beta links.
_base_ = "./deit-s_in1k.py"
model = dict(
    type="AALClassifier",
    teacher=dict(type="TimmTeacher", model_name="efficientnet_b3", pretrained=True),
    link_head=dict(type="AttentionLinkHead", links="beta", loss_weight=2000.0),
)
custom_hooks = [dict(type="LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,))]
