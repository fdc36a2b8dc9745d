# tools/train.py configs/shapes/quickstart_aal-alpha.py    (after configs/shapes/quickstart_teacher.py)
# quickstart_aal.py with the paper's alpha links.
_base_ = "./quickstart_aal.py"
model = dict(link_head=dict(links="alpha"))
work_dir = "work_dirs/quickstart/aal-alpha"
