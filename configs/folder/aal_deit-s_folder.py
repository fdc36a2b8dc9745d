# tools/train.py configs/folder/aal_deit-s_folder.py --cfg-options data_root=DIR epochs=100
# The distilled version of deit-s_folder.py with AAL: EfficientNet-B3 of ImageNet as teacher, alpha
# links. λ decays in your epochs as the paper's does in 300.
_base_ = ["./deit-s_folder.py", "../_base_/aal_in1k.py"]
model = dict(_base_.aal, **_base_.distilled)
default_hooks = dict(aal=dict(type="LambdaDecayHook", final=0.99**200 * 0.98**100))
