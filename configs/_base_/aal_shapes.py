# AAL with the CNN of quickstart_teacher.py, for students of the embedded shapes set.
aal = dict(
    type="AALClassifier",
    teacher=dict(
        type="MMTeacher",
        config="{{fileDirname}}/../shapes/quickstart_teacher.py",
        checkpoint="work_dirs/quickstart/teacher/epoch_3.pth",
    ),
    link_head=dict(type="AttentionLinkHead", links="full", loss_weight=2000.0),
)
decay = dict(type="LambdaDecayHook", final=0.05)
aal_lr = 0.012  # near the best one, see docs/results.md
