# tools/train.py configs/shapes/quickstart_aal-kept.py    (after configs/shapes/quickstart_teacher.py)
# quickstart_aal.py on sixteen views of each image; the teacher runs once for each view.
_base_ = "./quickstart_aal.py"
images = {{_base_.train_dataloader.dataset}}
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="RepeatedViews",
        dataset=images,
        views=16,
        kept_maps="work_dirs/quickstart/maps",
    )
)
work_dir = "work_dirs/quickstart/aal-kept"
