# tools/dist_train.sh configs/aal_pit-s_in1k-5pct.py 8
# Table 7: PiT-S with AAL on 5% of each class of ImageNet.
_base_ = ["./baselines/pit-s_in1k-5pct.py", "./_base_/aal_in1k.py"]
model = _base_.aal
default_hooks = dict(aal=_base_.decay)
