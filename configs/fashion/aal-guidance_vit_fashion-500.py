# tools/train.py configs/fashion/aal-guidance_vit_fashion-500.py    (after tools/real_images.py)
# aal_vit_fashion-500.py with locality guidance beside the links.
_base_ = "./aal_vit_fashion-500.py"
model = dict(guidance=2.5)
work_dir = "work_dirs/fashion/aal-guidance"
