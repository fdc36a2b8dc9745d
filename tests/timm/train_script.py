"""A script of train.py's shape, on noise or a folder: what tools/timm_train.py is tested with."""

import argparse
import os
from contextlib import nullcontext

import timm
import torch
import yaml
from timm import utils
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.loss import BinaryCrossEntropy
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask, load_task_ema_checkpoint, resume_task_checkpoint
from torch import nn

try:
    from timm.task import MultiLabelClassificationTask
except ImportError:  # timm before 1.0.30
    MultiLabelClassificationTask = None

parser = argparse.ArgumentParser(description="Training on noise")
parser.add_argument("--data-dir", default=".")  # noise
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--hflip", type=float, default=0.5)
parser.add_argument("--mixup", type=float, default=0.0)
parser.add_argument("--reprob", type=float, default=0.0)
parser.add_argument("--no-prefetcher", action="store_true")
parser.add_argument("--output", default=".")
parser.add_argument("--epochs", type=int, default=2, help="number of epochs to train")
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--mean", type=float, nargs="+", default=None)
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--device", default="cpu")
parser.add_argument("--resume", default="")
parser.add_argument("--drop", type=float, default=0.0)
parser.add_argument("--kd-model-name", default=None)
parser.add_argument("--model-ema", action="store_true")
parser.add_argument("--channels-last", action="store_true")
parser.add_argument("--in-chans", type=int, default=3)
parser.add_argument("--cooldown-epochs", type=int, default=0)
parser.add_argument("--bce-loss", action="store_true")
parser.add_argument("--task", default="classification")
parser.add_argument("--initial-checkpoint", default="")
parser.add_argument("--grad-accum-steps", type=int, default=1)


def main():
    args = parser.parse_args()
    args_text = yaml.safe_dump(args.__dict__)
    device = utils.init_distributed_device(args)
    utils.random_seed(args.seed, args.rank)
    model = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=32,
        patch_size=8,
        embed_dim=16,
        depth=3,
        num_heads=2,
        num_classes=5 if args.data_dir == "." else 10,
        proj_drop_rate=args.drop,
        in_chans=args.in_chans,
        checkpoint_path=args.initial_checkpoint,
    ).to(device)
    nn.init.normal_(model.head.weight)
    loss = BinaryCrossEntropy(smoothing=0.1) if args.bce_loss else nn.CrossEntropyLoss()
    if args.task == "multilabel":
        task = MultiLabelClassificationTask(
            model=model, criterion_kwargs=dict(smoothing=0.1), threshold=0.4, verbose=False
        )
    else:
        task = ClassificationTask(
            model=model, criterion=loss, device=device, dtype=None, verbose=False
        )
    loader = None
    if args.data_dir != ".":
        data = resolve_data_config(vars(args), model=model)
        loader = create_loader(
            create_dataset("", root=args.data_dir, split="train", is_training=True),
            input_size=(3, 32, 32),
            mean=data["mean"],
            std=data["std"],
            batch_size=args.batch_size,
            is_training=True,
            hflip=args.hflip,
            re_prob=args.reprob,
            num_workers=args.workers,
            distributed=args.distributed,
            device=device,
            use_prefetcher=not args.no_prefetcher,
        )
    # SGD: its step is the gradient itself, where Adam's hides the scale.
    optimizer = create_optimizer_v2(task.get_trainable_module(), "sgd", lr=1e-2)
    first = resume_task_checkpoint(task, args.resume, optimizer) if args.resume else 0
    if args.model_ema:
        task.setup_ema(decay=0.9)
        if args.resume:
            load_task_ema_checkpoint(task, args.resume)
    if args.distributed:
        task.prepare_distributed(device_ids=[device])
    saver = None
    if utils.is_primary(args):
        os.makedirs(args.output, exist_ok=True)
        with open(os.path.join(args.output, "args.yaml"), "w") as file:
            file.write(args_text)
        saver = utils.CheckpointSaver(
            task.get_trainable_module(),
            optimizer,
            args=None,
            checkpoint_dir=args.output,
            recovery_dir=args.output,
            task=task,
        )
    for epoch in range(first, args.epochs + args.cooldown_epochs):
        module = task.get_trainable_module()
        metrics = train_one_epoch(epoch, module, loader, optimizer, args, task=task)
        if saver is not None:
            print(f"epoch {epoch}", dict(metrics), flush=True)
            saver.save_checkpoint(epoch, metric=-epoch)
    if args.distributed:
        torch.distributed.destroy_process_group()


def noise(epoch, args):
    """This rank's share of batches that depend on the epoch alone."""
    share = args.batch_size // args.world_size
    mine = slice(args.rank * share, (args.rank + 1) * share)
    for step in range(2 * args.grad_accum_steps):
        generator = torch.Generator().manual_seed(100 * epoch + step)
        images = torch.randn(args.batch_size, args.in_chans, 32, 32, generator=generator)
        target = torch.randint(5, (args.batch_size,), generator=generator)
        if args.task == "multilabel":
            target = (torch.rand(args.batch_size, 5, generator=generator) < 0.4).float()
        yield images[mine], target[mine]


def train_one_epoch(epoch, model, loader, optimizer, args, task=None):
    model.train()
    total = 0.0
    optimizer.zero_grad()
    for step, (images, target) in enumerate(noise(epoch, args) if loader is None else loader):
        update = (step + 1) % args.grad_accum_steps == 0
        with nullcontext() if update else task.no_sync():
            loss = task(images, target)["loss"]
            loss /= args.grad_accum_steps
            loss.backward()
        total += loss.item()
        if update:
            optimizer.step()
            optimizer.zero_grad()
            task.update_ema()
    return {"loss": total}


if __name__ == "__main__":
    main()
