# AAL as in the paper: EfficientNet-B3 as teacher, λ, and the links for subsets (Table 4).
aal = dict(
    type="AALClassifier",
    teacher=dict(type="TimmTeacher", model_name="efficientnet_b3", pretrained=True),
    link_head=dict(type="AttentionLinkHead", links="alpha", loss_weight=2000.0),
)
# The student of the paper "if not mentioned otherwise" (5.1): DeiT-S with a distillation token.
distilled = dict(
    backbone=dict(type="DistilledVisionTransformer"),
    head=dict(type="DeiTClsHead"),
)
decay = dict(type="LambdaDecayHook", gammas=(0.99, 0.98), milestones=(200,))
