# tools/train.py configs/fashion/guidance_vit_fashion-500.py    (after tools/real_images.py)
# The ViT of vit_fashion-500.py with locality guidance alone, by the teacher and the views of aal_vit_fashion-500.py.
_base_ = "./vit_fashion-500.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="TimmTeacher",
        model_name="tf_efficientnet_lite0",
        checkpoint="data/efficientnet_lite0.pth",  # or pretrained=True, with a network
        image_size=96,
    ),
    guidance=2.5,
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
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = dict(eta_max=4e-3)
work_dir = "work_dirs/fashion/guidance"
