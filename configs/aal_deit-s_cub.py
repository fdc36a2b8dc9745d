# tools/dist_train.sh configs/aal_deit-s_cub.py 8
# DeiT-S, distilled version, with AAL on CUB-200-2011. The teacher knows ImageNet's classes, so there
# is no distillation from it.
_base_ = ["./baselines/deit-s_cub.py", "./_base_/aal_in1k.py"]
model = dict(_base_.aal, **_base_.distilled)
default_hooks = dict(aal=_base_.decay)
