# tools/train.py configs/fashion/guidance_vit_fashion-500.py    (after tools/real_images.py)
# The ViT of vit_fashion-500.py with locality guidance alone, by the teacher of aal_vit_fashion-500.py.
_base_ = "./aal_vit_fashion-500.py"
model = dict(link_head=None, guidance=2.5)
default_hooks = dict(aal=None)
work_dir = "work_dirs/fashion/guidance"
