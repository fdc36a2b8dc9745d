# tools/train.py configs/elpv/aal-guidance_vit_elpv.py    (after tools/real_images.py)
# aal_vit_elpv.py with locality guidance beside the links.
_base_ = "./aal_vit_elpv.py"
model = dict(guidance=2.5)
work_dir = "work_dirs/elpv/aal-guidance"
