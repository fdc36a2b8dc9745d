# tools/train.py configs/shapes/deit_shapes.py
# The ViT of quickstart_plain.py in a short recipe: 20 epochs, batches of 50.
_base_ = "./quickstart_plain.py"
train_dataloader = dict(batch_size=50)
param_scheduler = dict(total_steps=20)
train_cfg = dict(max_epochs=20)
work_dir = "work_dirs/deit_shapes"
