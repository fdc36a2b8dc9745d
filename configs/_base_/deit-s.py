# DeiT-S with stochastic depth, Mixup, CutMix and label smoothing.
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="VisionTransformer",
        arch="deit-small",
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
    ),
    head=dict(
        type="VisionTransformerClsHead",
        num_classes=1000,
        in_channels=384,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
    init_cfg=dict(type="DeiTInit"),
    train_cfg=dict(
        augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)],
    ),
)
