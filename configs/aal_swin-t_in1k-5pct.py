# tools/dist_train.sh configs/aal_swin-t_in1k-5pct.py 8
# Swin-T with AAL on 5% of each class of ImageNet.
_base_ = ["./baselines/swin-t_in1k-5pct.py", "./_base_/aal_in1k.py"]
model = _base_.aal
default_hooks = dict(aal=_base_.decay)
