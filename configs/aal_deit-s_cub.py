# tools/dist_train.sh configs/aal_deit-s_cub.py 8
# DeiT-S with AAL on CUB-200-2011; the teacher is trained on ImageNet.
_base_ = ["./deit-s_cub.py", "./_base_/aal_in1k.py"]
model = _base_.aal
