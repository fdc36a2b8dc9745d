# tools/train.py configs/folder/aal_deit-s_folder.py --cfg-options data_root=DIR epochs=100
# The distilled version of deit-s_folder.py with AAL: EfficientNet-B3 of ImageNet as teacher, alpha
# links. λ takes the paper's course of 300 epochs in yours.
_base_ = ["./deit-s_folder.py", "../_base_/aal_in1k.py"]
model = dict(_base_.aal, **_base_.distilled)
default_hooks = dict(aal=_base_.decay)
