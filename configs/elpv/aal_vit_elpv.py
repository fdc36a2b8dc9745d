# tools/train.py configs/elpv/aal_vit_elpv.py    (after tools/real_images.py)
# The ViT of vit_elpv.py with AAL, by an EfficientNet that was trained on ImageNet; the maps of its
# four views of each image are kept.
_base_ = "./vit_elpv.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="TimmTeacher",
        model_name="tf_efficientnet_lite0",
        checkpoint="data/efficientnet_lite0.pth",  # or pretrained=True, with a network
    ),
    link_head=dict(type="AttentionLinkHead", links="full", loss_weight=2000.0),
)
images = {{_base_.train_dataloader.dataset}}
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="RepeatedViews",
        dataset=images,
        views=4,
        kept_maps="work_dirs/elpv/maps",
    )
)
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = dict(eta_max=4e-3)
default_hooks = dict(aal=dict(type="LambdaDecayHook", final=0.05))
work_dir = "work_dirs/elpv/aal"
