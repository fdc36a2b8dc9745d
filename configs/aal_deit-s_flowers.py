# tools/dist_train.sh configs/aal_deit-s_flowers.py 8
# DeiT-S, distilled version, with AAL on Oxford Flowers-102. The teacher knows ImageNet's classes, so
# there is no distillation from it.
_base_ = ["./baselines/deit-s_flowers.py", "./_base_/aal_in1k.py"]
model = dict(_base_.aal, **_base_.distilled)
default_hooks = dict(aal=_base_.decay)
