# tools/test.py configs/shapes/quickstart_localization.py CHECKPOINT
# Where the attention of a quickstart student looks. CHECKPOINT is one of quickstart_plain.py or of
# quickstart_aal.py; the log then lists the links as unexpected keys, because they are not needed.
_base_ = "./quickstart_plain.py"
test_dataloader = dict(
    dataset=dict(pipeline=[dict(type="PackInputs", algorithm_keys=["gt_bboxes"])])
)
default_hooks = dict(attention=dict(type="AttentionInPrediction", rollout=True))
test_evaluator = [
    dict(type="Accuracy", topk=(1,)),
    dict(type="LocalizationAccuracy"),
    dict(type="LocalizationAccuracy", rollout=True, prefix="localization_rollout"),
]
work_dir = "work_dirs/quickstart/localization"
