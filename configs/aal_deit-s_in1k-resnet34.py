# tools/dist_train.sh configs/aal_deit-s_in1k-resnet34.py 8
# Table 5: DeiT-S, distilled, with AAL on all of ImageNet and ResNet-34 as teacher.
_base_ = "./aal_deit-s_in1k.py"
model = dict(teacher=dict(model_name="resnet34"))
