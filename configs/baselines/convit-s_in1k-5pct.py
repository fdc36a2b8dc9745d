# tools/dist_train.sh configs/baselines/convit-s_in1k-5pct.py 8
# ConViT-S on 5% of each class; other shares: --cfg-options train_dataloader.dataset.fraction=0.1
_base_ = "./convit-s_in1k.py"
train_dataloader = dict(dataset=dict(fraction=0.05))
