# tools/train.py configs/elpv/guidance_vit_elpv.py    (after tools/real_images.py)
# The ViT of vit_elpv.py with locality guidance alone, by the teacher of aal_vit_elpv.py.
_base_ = "./aal_vit_elpv.py"
model = dict(link_head=None, guidance=2.5)
default_hooks = dict(aal=None)
work_dir = "work_dirs/elpv/guidance"
