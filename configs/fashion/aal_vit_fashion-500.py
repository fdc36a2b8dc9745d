# tools/train.py configs/fashion/aal_vit_fashion-500.py    (after tools/real_images.py)
# The ViT of vit_fashion-500.py with AAL, by an EfficientNet that was trained on ImageNet. Its maps of
# eight views of each image are kept.
_base_ = "./vit_fashion-500.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="TimmTeacher",
        model_name="tf_efficientnet_lite0",
        checkpoint="data/efficientnet_lite0.pth",  # or pretrained=True, with a network
        image_size=96,
    ),
    link_head=dict(type="AttentionLinkHead", links="full", loss_weight=2000.0),
)
images = {{_base_.train_dataloader.dataset}}
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="RepeatedViews",
        dataset=images,
        views=8,
        kept_maps="work_dirs/fashion/maps",
    )
)
optim_wrapper = dict(optimizer=dict(lr=1.6e-2))
param_scheduler = dict(eta_max=1.6e-2)
default_hooks = dict(aal=dict(type="LambdaDecayHook", final=0.05))
work_dir = "work_dirs/fashion/aal"
