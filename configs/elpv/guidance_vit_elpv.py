# tools/train.py configs/elpv/guidance_vit_elpv.py    (after tools/real_images.py)
# The ViT of vit_elpv.py with locality guidance alone, by the teacher and the views of aal_vit_elpv.py.
_base_ = "./vit_elpv.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="TimmTeacher",
        model_name="tf_efficientnet_lite0",
        checkpoint="data/efficientnet_lite0.pth",  # or pretrained=True, with a network
    ),
    guidance=2.5,
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
work_dir = "work_dirs/elpv/guidance"
