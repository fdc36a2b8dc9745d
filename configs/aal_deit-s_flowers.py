# tools/dist_train.sh configs/aal_deit-s_flowers.py 8
# DeiT-S with AAL on Oxford Flowers-102; the teacher is trained on ImageNet.
_base_ = ["./deit-s_flowers.py", "./_base_/aal_in1k.py"]
model = _base_.aal
