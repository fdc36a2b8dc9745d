# tools/train.py configs/shapes/quickstart_aal.py    (after configs/shapes/quickstart_teacher.py)
# The ViT of quickstart_plain.py, supervised by the CNN of quickstart_teacher.py.
_base_ = "./quickstart_plain.py"
model = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="{{fileDirname}}/quickstart_teacher.py",
        checkpoint="work_dirs/quickstart/teacher/epoch_3.pth",
    ),
    link_head=dict(type="AttentionLinkHead", links="full", loss_weight=2000.0),
)
# Near the best learning rate of AAL; the plain ViT has its own: docs/results.md.
optim_wrapper = dict(optimizer=dict(lr=0.012))
param_scheduler = dict(eta_max=0.012)
default_hooks = dict(
    aal=dict(type="LambdaDecayHook", final=0.05), links=dict(type="LinkHeatmapHook", interval=4)
)
work_dir = "work_dirs/quickstart/aal"
