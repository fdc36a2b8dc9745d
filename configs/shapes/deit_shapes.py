# tools/train.py configs/shapes/deit_shapes.py
# The ViT of quickstart_plain.py in a short recipe: 20 epochs, batches of 50, the learning rate of AAL.
_base_ = "./quickstart_plain.py"
train_dataloader = dict(batch_size=50)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = dict(eta_max=2e-3, total_steps=20)
train_cfg = dict(max_epochs=20)
work_dir = "work_dirs/deit_shapes"
