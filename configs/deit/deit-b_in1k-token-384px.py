# tools/dist_train.sh configs/deit/deit-b_in1k-token-384px.py 16
# DeiT-B at 384 px, fine-tuned for 30 epochs from deit-b_in1k-token.py's checkpoint, the teacher
# at 384 px too; crops and flips alone, as in MMPretrain's recipe for 384 px. Position
# embeddings are resized as the checkpoint is loaded.
_base_ = ["mmpretrain::deit/deit-base-distilled_16xb32_in1k-384px.py", "../_base_/deit_teacher.py"]
custom_imports = dict(imports=["aal_plugin"], allow_failed_imports=False)
model = dict(
    type="AALClassifier",
    teacher=_base_.deit_teacher,
    distill_head=dict(type="DistillHead", kind="hard", token=True),
)
load_from = "work_dirs/deit-b_in1k-token/epoch_300.pth"
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=5e-6, weight_decay=1e-8))
param_scheduler = [dict(type="ConstantLR", factor=1.0, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
custom_hooks = [dict(type="TeacherAccuracyHook")]
