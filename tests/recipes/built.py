"""What a config builds, as plain values that a table of recipes can be held against.

Runner, model, optimizer, schedulers, loaders and hooks are MMEngine's, built from the config; the
data sets alone are stand-ins of the real length, and a teacher's weights are random.
"""

import logging
import re
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, TRANSFORMS
from torch import nn

FOLDER = Path(__file__).resolve().parents[2] / "configs"

# Training images of each data set.
IMAGES = dict(
    ImageNet=1_281_167,
    CIFAR10=50_000,
    CIFAR100=50_000,
    CUB=5_994,
    CUBWithBoxes=5_994,
    Flowers102=2_040,
    CustomDataset=5_360,  # MIT's indoor scenes
)

# What a transform holds beside the values of a recipe.
_NO_RECIPE = {
    *(
        "training",
        "ignore_empty",
        "to_float32",
        "color_type",
        "imdecode_backend",
        "file_client_args",
    ),
    *("backend_args", "swap_seg_labels", "max_attempts", "backend", "hparams", "policies"),
    *("auto_pad", "pad_cfg", "clip_object_border", "transforms", "meta_keys", "input_key"),
    *(
        "algorithm_keys",
        "clip_object_border",
        "resize_type",
        "resize_cfg",
        "resize",
        "scale_factor",
    ),
}
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


@DATASETS.register_module()
class StandIn(torch.utils.data.Dataset):
    """As many images as the data set has, none of which is read."""

    metainfo = {}

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return self.images

    def __getitem__(self, index):
        return index


def built(path, work_dir):
    """The values of a config's recipe, `{name: value}`; None or missing where it has no such part.

    Args:
        path: of the config.
        work_dir: a folder for the runner.
    """
    with _quiet_and_quick():
        return _built(path, work_dir)


def _built(path, work_dir):
    text = Path(path).read_text()
    gpus = int((re.match(r"# tools/dist_train.sh \S+ (\d+)", text) or [0, 1])[1])
    cfg = Config.fromfile(path)
    start, teacher = _without_files(cfg)
    init_default_scope(cfg.default_scope)
    images = _images(cfg.train_dataloader.dataset)
    train_pipeline, test_pipeline = _pipelines(cfg)
    cfg.train_dataloader.dataset = dict(type="StandIn", images=images)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.val_dataloader.dataset = dict(type="StandIn", images=10)
    cfg.val_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.update(work_dir=str(work_dir), experiment_name=f"{Path(path).stem}-{id(cfg)}")
    cfg.log_level = "ERROR"
    runner = Runner.from_cfg(cfg)
    torch.manual_seed(0)
    runner.model.init_weights()
    with _ranks(gpus):
        runner._train_loop = runner.build_train_loop(cfg.train_cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    loader, batch = runner.train_dataloader, gpus * runner.train_dataloader.batch_size
    group = runner.optim_wrapper.param_groups[0]
    values = dict(
        gpus=gpus,
        batch=batch,
        images=images,
        iterations=len(loader),
        epochs=runner.max_epochs,
        sampler=_sampler(loader.sampler),
        drop_last=loader.drop_last,
        train_pipeline=train_pipeline,
        test_pipeline=test_pipeline,
        pixels=_pixels(runner.model.data_preprocessor),
        optimizer=type(runner.optim_wrapper.optimizer).__name__,
        lr=group["initial_lr"] if "initial_lr" in group else group["lr"],
        decay=_decay(runner),
        clipping=runner.optim_wrapper.clip_grad_kwargs,
        start=start,
        full_batch=cfg.get("auto_scale_lr", {}).get("base_batch_size"),
    )
    for name in ("betas", "momentum", "nesterov", "dampening"):
        values[name] = group.get(name)
    values.update(_model(runner.model))
    values["ema"] = _ema(runner)
    values["kept_as_it_is"] = _kept_as_it_is(runner.model)
    if teacher:
        values["teacher"]["weights"] = teacher
    hooks = {type(hook).__name__ for hook in runner.hooks}
    values["momentum_reset"] = "ResetMomentumHook" in hooks or None
    values["lr_at"] = _lr_by_epoch(runner)
    values["weight_at"] = _weight_by_epoch(runner)
    return values


def _kept_as_it_is(model):
    """Parameters without a gradient, and batch norms that learn no statistics, while it trains."""
    model.train()
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    kept = dict(
        parameters=sum(p.numel() for p in model.parameters() if not p.requires_grad),
        norms=sum(not norm.training for norm in norms),
    )
    return kept if any(kept.values()) else None


def differences(row, values):
    """Lines that tell where the values of a config are not the row's `{name: (value, source)}`.

    Of what goes by epoch the row names some epochs, `{epoch: value}`. Numbers agree to 1e-6 of
    their size (λ is held in float32). What a row leaves out has to be missing.
    """
    lines = []
    for name in sorted({*row, *values}):
        expected, source = row.get(name, (None, "not in the table"))
        value = values.get(name)
        if name in ("lr_at", "weight_at") and expected is not None and value is not None:
            value = {epoch: value[epoch] for epoch in expected}
        if not (_spreads_alike if name == "init" else _same)(expected, value):
            lines.append(f"{name}: built {value!r}, the recipe has {expected!r} ({source})")
    return lines


def _same(expected, value):
    if isinstance(expected, dict) and isinstance(value, dict):
        return expected.keys() == value.keys() and all(
            _same(expected[key], value[key]) for key in expected
        )
    if isinstance(expected, (list, tuple)) and isinstance(value, (list, tuple)):
        return len(expected) == len(value) and all(map(_same, expected, value))
    if isinstance(expected, float) and isinstance(value, (int, float)):
        return abs(expected - value) <= 1e-6 * abs(expected)
    return expected == value


def _spreads_alike(expected, value):
    """Mean and deviation of each kind to 20 and 15 % of it; five standard errors of few numbers."""
    if (expected or {}).keys() != (value or {}).keys():
        return False
    for kind, (mean, std) in (expected or {}).items():
        found, spread, count = value[kind]
        if abs(found - mean) > max(0.2, 5 / count**0.5) * std + 1e-6:
            return False
        if abs(spread - std) > max(0.15, 5 / (2 * count) ** 0.5) * std:
            return False
    return True


def _without_files(cfg):
    """(start, teacher): the files of weights that the model wants, taken out of the config."""
    backbone, teacher = cfg.model.backbone, cfg.model.get("teacher")
    start = of_teacher = None
    if backbone.get("pretrained"):
        start, backbone.pretrained = f"timm's {backbone.model_name}", False
    init_cfg = backbone.get("init_cfg")
    if isinstance(init_cfg, dict) and init_cfg.get("type") == "Pretrained":
        start, backbone.init_cfg = backbone.init_cfg.checkpoint, None
    if teacher:
        of_teacher = "timm's" if teacher.get("pretrained") else teacher.get("checkpoint")
        teacher.update(allow_random_weights=True, checkpoint=None, fold_norms=False)
        if "pretrained" in teacher:
            teacher.pretrained = False
    return start or cfg.get("load_from"), of_teacher


def _images(dataset):
    """Of the training set; the share of a class-balanced subset is a share of all."""
    share = dataset.get("fraction", 1.0)
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return round(share * IMAGES[dataset["type"]])


def _pipelines(cfg):
    def transforms(dataset):
        while "dataset" in dataset and "pipeline" not in dataset:
            dataset = dataset["dataset"]
        return [_transform(TRANSFORMS.build(step)) for step in dataset["pipeline"]]

    return transforms(cfg.train_dataloader.dataset), transforms(cfg.val_dataloader.dataset)


def _transform(transform):
    """(name, values), such as ("RandomFlip", dict(prob=0.5, direction="horizontal"))."""
    transform = getattr(transform, "t", transform)  # torchvision's, inside MMPretrain's wrapper
    held = {k: v for k, v in vars(transform).items() if k not in _NO_RECIPE and k[0] != "_"}
    if hasattr(transform, "policies"):
        held["policies"] = [
            tuple(v for k, v in step.items() if k in ("type", "magnitude_range", "direction"))
            for step in transform.policies
        ]
        held["pad_val"] = transform.hparams["pad_val"]
    return type(transform).__name__, held


def _sampler(sampler):
    names = ("shuffle", "num_repeats", "round_up")
    return (type(sampler).__name__, {n: getattr(sampler, n) for n in names if hasattr(sampler, n)})


def _pixels(preprocessor):
    """Mean and std of the channels as the model gets them, and their order."""
    order = "as read" if not preprocessor.to_rgb else "BGR turned to RGB"
    return dict(
        mean=[round(v, 3) for v in preprocessor.mean.flatten().tolist()],
        std=[round(v, 3) for v in preprocessor.std.flatten().tolist()],
        order=order,
    )


def kinds(model):
    """The model's trained parameters by kind, `{kind: [(name, parameter)]}`."""
    by_kind = defaultdict(list)
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                full = f"{prefix}.{name}"
                by_kind[_kind(full, name, module, parameter)].append((full, parameter))
    return dict(by_kind)


def _kind(full, name, module, parameter):
    if full.startswith("link_head."):
        return "link biases" if name == "bias" else "links"
    if full.startswith("guidance."):
        return "guidance biases" if name == "bias" else "guidance"
    if full.startswith("transfer_head."):
        return "transfer biases" if name == "bias" else "transfer"
    if isinstance(module, _NORMS):
        return "norm biases" if name == "bias" else "norms"
    if name == "bias":
        return "biases"
    if name in ("cls_token", "dist_token", "pos_embed"):
        return name
    if parameter.ndim == 1:
        return "other vectors"
    if isinstance(module, nn.modules.conv._ConvNd):
        return "convolutions"
    if full.startswith("head."):
        return "classifier"
    return "linear" if isinstance(module, nn.Linear) else name


def _decay(runner):
    """Weight decay of each kind of parameter; several values of one kind stand as a tuple."""
    of = {id(p): g["weight_decay"] for g in runner.optim_wrapper.param_groups for p in g["params"]}
    decays = {
        kind: sorted({of[id(parameter)] for _, parameter in held})
        for kind, held in kinds(runner.model).items()
    }
    return {kind: d[0] if len(d) == 1 else tuple(d) for kind, d in decays.items()}


def _model(model):
    head, backbone = model.head, model.backbone
    paths = [
        float(m.drop_prob) for m in backbone.modules() if type(m).__name__.endswith("DropPath")
    ]
    values = dict(
        student=_name(backbone),
        parameters=sum(
            p.numel()
            for n, p in model.named_parameters()
            if not n.startswith(("link_head.", "guidance."))
        ),
        classes=getattr(head, "num_classes", None),
        head=type(head).__name__,
        loss=_loss(head),
        drop_path=(min(paths), max(paths)) if any(paths) else 0.0,
        mixing=_mixing(model.data_preprocessor.batch_augments),
    )
    if getattr(backbone, "img_size", None) is not None:
        values["image_size"] = tuple(backbone.img_size)
    values["init"] = {
        kind: _spread(held) for kind, held in kinds(model).items() if "biases" not in kind
    }
    teacher = getattr(model, "teacher", None)
    if teacher is not None:
        values["teacher"] = dict(model=_name(teacher), channels=list(teacher.channels))
        if teacher.images.image_size is not None:
            values["teacher"]["image_size"] = teacher.images.image_size
    if hasattr(model, "link_head"):
        links = model.link_head.links
        values["links"] = dict(
            ranges=[tuple(r) for r in links.ranges],
            weights=sum(link.weight.numel() for link in links),
            grid=model.link_head.recording.map_size,
            antialias=model.link_head.recording.antialias,
        )
    if hasattr(model, "distill_head"):
        distil = model.distill_head
        values["distillation"] = dict(
            kind=distil.kind,
            token=distil.token,
            weight=distil.loss_weight,
            temperature=distil.temperature if distil.kind == "soft" else None,
        )
    if hasattr(model, "transfer_head"):
        transfer = model.transfer_head
        names = ("kind", "power", "pairs", "reduction")
        values["transfer"] = dict(
            type=type(transfer).__name__,
            weight=transfer.loss_weight,
            **{name: getattr(transfer, name) for name in names if hasattr(transfer, name)},
        )
        if teacher is not None:
            values["transfer"]["teacher_layers"] = list(teacher.layers)
    if hasattr(model, "guidance"):
        guidance = model.guidance
        values["guidance"] = dict(weight=guidance.loss_weight, pairs=guidance.recording.pairs)
    return values


def _name(model):
    """What a student's backbone or a teacher is: its architecture's name where it has one."""
    inner = model
    for name in ("model", "backbone", "timm_model"):
        inner = getattr(inner, name, inner)
    cfg = getattr(inner, "pretrained_cfg", None)
    if cfg:
        return f"{cfg['architecture']}.{cfg['tag']}" if cfg.get("tag") else cfg["architecture"]
    sizes = {
        name: getattr(inner, name)
        for name in ("embed_dims", "num_layers", "depth", "widen_factor")
        if hasattr(inner, name)
    }
    return " ".join([type(inner).__name__, *(f"{k}={v}" for k, v in sizes.items())])


def _loss(head):
    loss = head.loss_module
    names = ("label_smooth_val", "mode", "use_soft", "use_sigmoid")
    return (type(loss).__name__, {n: getattr(loss, n) for n in names if hasattr(loss, n)})


def _mixing(augments):
    if augments is None:
        return None
    probs = augments.probs or [1 / len(augments.augments)] * len(augments.augments)
    return [
        (type(mix).__name__, dict(alpha=mix.alpha, share=share))
        for mix, share in zip(augments.augments, probs)
    ]


def _spread(held):
    """(mean, standard deviation, how many) over all parameters of a kind, three digits."""
    flat = torch.cat([parameter.detach().flatten() for _, parameter in held])
    mean, spread = (float(f"{v.item():.3g}") for v in (flat.mean(), flat.std(correction=0)))
    return mean, spread, flat.numel()


def _ema(runner):
    """The average of the weights that is kept, and whether validation or checkpoints show it."""
    hook = next((hook for hook in runner.hooks if hasattr(hook, "ema_cfg")), None)
    if hook is None:
        return None
    model = nn.Linear(1, 1)
    other = SimpleNamespace(model=model)
    hook.before_run(other)
    with torch.no_grad():
        model.weight.fill_(7.0)
    hook.before_val_epoch(other)
    measured = "raw" if model.weight.item() == 7.0 else "average"
    hook.after_val_epoch(other)
    saved = dict(state_dict=model.state_dict(), meta={})
    hook.before_save_checkpoint(other, saved)
    raw = saved["state_dict"]["weight"].item() == 7.0
    return dict(
        momentum=hook.ema_cfg.get("momentum"),
        measured=measured,
        saved="raw" if raw else "average",
    )


def _lr_by_epoch(runner):
    """The lr of each epoch's first step, from the schedulers, one step or more an epoch."""
    steps = 4  # iterations of an epoch, for schedules that go by iteration
    parameter = nn.Parameter(torch.zeros(1))
    groups = [dict(runner.optim_wrapper.param_groups[0], params=[parameter])]
    wrapper = runner.optim_wrapper
    small = type(wrapper)(type(wrapper.optimizer)(groups))
    runner.optim_wrapper = small
    with mock.patch.object(type(runner), "train_dataloader", range(steps)):
        schedulers = runner.build_param_scheduler(runner.cfg.param_scheduler)
    runner.optim_wrapper = wrapper
    lrs = []
    for _ in range(runner.max_epochs):
        lrs.append(small.param_groups[0]["lr"])
        small.step()  # without a gradient; a scheduler warns if it comes first
        for _ in range(steps):
            _step(schedulers, by_epoch=False)
        _step(schedulers, by_epoch=True)
    return lrs


def _step(schedulers, by_epoch):
    for scheduler in schedulers:
        if scheduler.by_epoch == by_epoch:
            scheduler.step()


def _weight_by_epoch(runner):
    """λ or β of each epoch from the hook that lowers it, or None where it stays."""
    hooks = [hook for hook in runner.hooks if type(hook).__name__ == "LambdaDecayHook"]
    if not hooks:
        return None
    (hook,), weights = hooks, []
    hook.before_train(runner)
    loop = runner._train_loop
    for epoch in range(runner.max_epochs):
        loop._epoch = epoch
        hook.before_train_iter(runner, 0)
        weights.append(hook._head.weight.item())
    loop._epoch = 0
    return weights


_load_once = lru_cache(maxsize=None)(load)


@contextmanager
def _quiet_and_quick():
    """No log lines. No config written out: its formatter takes half a second. MMPretrain's index
    of models, which MMEngine reads for every `mmpretrain::`, is read once.
    """
    MMLogger.get_current_instance().setLevel("ERROR")
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with (
        mock.patch.object(Config, "pretty_text", ""),
        mock.patch("mmengine.config.utils.load", _load_once),
    ):
        yield
    logging.disable(level)


@contextmanager
def _ranks(count):
    """Samplers as those of one of `count` ranks."""
    with ExitStack() as stack:
        for place in ("mmengine.dataset.sampler", "mmpretrain.datasets.samplers.repeat_aug"):
            stack.enter_context(mock.patch(f"{place}.get_dist_info", lambda: (0, count)))
        yield
