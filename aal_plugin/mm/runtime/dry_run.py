"""A recipe built and tried on made-up images, and what it amounts to on one screen."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.dist import get_world_size
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from torch import nn
from torch.utils.data import Dataset

from aal_plugin.core import link_weight
from aal_plugin.mm.checkpoints.checkpoint_file import check_checkpoint
from aal_plugin.mm.configs.types import type_name
from aal_plugin.mm.datasets.data_layout import check_data
from aal_plugin.mm.hooks.fit_check_hook import check_labels
from aal_plugin.mm.hooks.lambda_decay_hook import LambdaDecayHook
from aal_plugin.plain_errors import in_words

# Training images of the papers' data sets, where they are not at hand.
TRAIN_IMAGES = dict(
    ImageNet=1_281_167,
    CIFAR10=50_000,
    CIFAR100=50_000,
    CUB=5_994,
    CUBWithBoxes=5_994,
    Flowers102=2_040,
)
_FETCHED = ("CIFAR10", "CIFAR100")  # by MMPretrain, when a run begins
_CPU_BATCH = 4
_ASSUMED = 1000  # images of a data set that is not at hand, and of no known length


class Tried(NamedTuple):
    """What a dry run found: the lines of its screen, and the files that a run would miss."""

    lines: list[str]
    missing: list[str]


def dry_run(cfg: Config, images_per_second: float | None = None) -> Tried:
    """Build all that a run builds, take two steps, and tell what the run would be.

    The images are made up, and go through the config's own pipeline; nothing is written. On a GPU
    a step has the config's own batch, on a CPU four images. What files are missing is told, and
    stood in for: random weights for a teacher's, a data set of the real length for another.

    Args:
        cfg: as tools/train.py hands it to a Runner.
        images_per_second: of all ranks; by default as fast as these two steps were.

    Raises:
        Whatever a run would raise.
    """
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    cfg, missing, real = _without_missing_files(cfg)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        cfg.work_dir = folder
        cfg.log_level = "ERROR"
        cfg.visualizer = dict(type="Visualizer", vis_backends=None)
        runner = _built(cfg, missing, real)
        loader = runner.train_loop.dataloader
        logged, seconds, batch = _two_steps(runner)
    speed = images_per_second or batch * get_world_size() / seconds
    told = "given" if images_per_second else f"as in this step of {batch} images"
    epochs, steps = runner.max_epochs, runner.max_iters
    images = steps * loader.batch_size * get_world_size()
    size = "×".join(map(str, loader.dataset[0]["inputs"].shape))
    rows = [
        ("model", _parameters(runner.model)),
        ("images", f"{size}, {loader.batch_size} a step and rank, ranks: {get_world_size()}"),
        (
            "steps",
            f"{epochs} epochs of {len(loader)}, {steps:,} in all; "
            f"{images / speed / 3600:.1f} hours at {speed:,.0f} images/s ({told})",
        ),
        ("learning rate", _learning_rates(runner, epochs)),
        *(("weight decay", words) for words in _decays(runner)),
        *(("λ", words) for words in _weights(runner, epochs)),
        *((f"step {number}", words) for number, words in enumerate(logged, start=1)),
        *(("missing", words) for words in missing or ["nothing"]),
    ]
    lines, before = [], None
    for name, words in rows:
        lines.append(f"{name if name != before else '':14} {words}")
        before = name
    return Tried(lines, missing)


def _without_missing_files(cfg: Config) -> tuple[Config, list[str], Dataset | None]:
    """The config on made-up images, what files are not there, and the data set where it is."""
    cfg, missing = Config(cfg.to_dict()), []

    def there(check: Callable[[], None], whose: str = "") -> bool:
        try:
            check()
        except OSError as error:
            missing.append(f"{whose}{error}")
            return False
        return True

    if not there(lambda: check_checkpoint(cfg.get("load_from")), "load_from: "):
        cfg.load_from = None
    teacher = cfg.model.get("teacher")
    checkpoint = teacher.get("checkpoint") if isinstance(teacher, dict) else None
    if isinstance(checkpoint, str) and not there(
        lambda: check_checkpoint(checkpoint), "model.teacher: "
    ):
        _randomise(teacher)
    there(lambda: check_data(cfg, ("val_dataloader",)))
    data = cfg.train_dataloader.dataset
    if there(lambda: check_data(cfg, ("train_dataloader",))) and _innermost(data) not in _FETCHED:
        real: Dataset | None = DATASETS.build(data)
    else:
        real = None
        if _innermost(data) not in TRAIN_IMAGES:
            missing.append(f"the length of the train data is not known; {_ASSUMED} are assumed")
    cfg.train_dataloader.dataset = dict(
        type="MadeUpImages",
        images=_length(data) if real is None else len(real),
        pipeline=_pipeline(data),
        classes=cfg.model.head.get("num_classes", 2),
        size=_image_size(data, real),
    )
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.pop("prefetch_factor", None)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    return cfg, missing, real


def _randomise(teacher: dict) -> None:
    if "pretrained" in teacher:
        teacher["pretrained"] = False
    teacher.update(checkpoint=None, allow_random_weights=True)


def _innermost(data: dict) -> str:
    return _innermost(data["dataset"]) if "dataset" in data else type_name(data)


def _pipeline(data: dict) -> Sequence[dict]:
    return _pipeline(data["dataset"]) if "dataset" in data else data.get("pipeline", ())


def _length(data: dict) -> int:
    if "dataset" in data:
        return round(data.get("fraction", 1.0) * data.get("times", 1) * _length(data["dataset"]))
    return TRAIN_IMAGES.get(type_name(data), _ASSUMED)


def _image_size(data: dict, real: Dataset | None) -> tuple[int, int]:
    """(H, W) of the images before the pipeline: an usual photograph's where it is not known."""
    if real is not None:
        pixels = real.get_data_info(0).get("img")
        if pixels is not None:
            return tuple(pixels.shape[:2])
    return (32, 32) if _innermost(data) in _FETCHED else (375, 500)


@DATASETS.register_module()
class MadeUpImages(Dataset):
    """Noise with labels, as many images as there are, through a config's own pipeline.

    Args:
        images: their number.
        pipeline: the config's; what loads a file is left out.
        classes: labels are 0 to classes - 1.
        size: (H, W) in pixels, before the pipeline.
    """

    metainfo: dict[str, Any] = {}

    def __init__(
        self, images: int, pipeline: Sequence[dict], classes: int, size: Sequence[int]
    ) -> None:
        steps = [step for step in pipeline if type_name(step) != "LoadImageFromFile"]
        self.images, self.classes = images, classes
        self.shape = tuple(size)
        self.pipeline = Compose([dict(step) for step in steps])

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> Any:
        height, width = self.shape
        pixels = np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)
        box = np.array([[width // 4, height // 4, width * 3 // 4, height * 3 // 4]], np.float32)
        return self.pipeline(
            dict(
                img=pixels,
                img_shape=self.shape,
                ori_shape=self.shape,
                img_path=f"made-up image {index}",
                gt_label=index % self.classes,
                gt_bboxes=box,
            )
        )


def _built(cfg: Config, missing: list[str], real: Dataset | None) -> Runner:
    """A Runner with all that `train` would build, its hooks called as they would be."""
    for _ in range(3):  # a teacher's weights may be missing, and a backbone's
        try:
            runner = Runner.from_cfg(cfg)
            runner._init_model_weights()
            break
        except (ValueError, OSError) as error:
            missing.append(_unfetched(cfg, error))
    if real is not None:
        model = runner.model.module if hasattr(runner.model, "module") else runner.model
        check_labels("train_dataloader", real, model)
    runner._train_loop = runner.build_train_loop(cfg.train_cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, cfg.get("auto_scale_lr"))
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook("before_run")
    runner.load_or_resume()
    runner.call_hook("before_train")
    return runner


def _unfetched(cfg: Config, error: Exception) -> str:
    """What is missing where weights could not be fetched, and no longer asked for in the config.

    Raises:
        The error, where it is another.
    """
    if "could not be fetched" in str(error):
        _randomise(cfg.model.teacher)
        return in_words(error)
    backbone = cfg.model.backbone
    start = backbone.get("init_cfg")
    own = [start] if isinstance(start, dict) else start or []
    asks = backbone.get("pretrained") or any(type_name(part) == "Pretrained" for part in own)
    if not isinstance(error, OSError) or not asks:
        raise error
    told = backbone.get("pretrained") or [part.get("checkpoint") for part in own]
    backbone.update(init_cfg=None)
    if "pretrained" in backbone:
        backbone.pretrained = False
    return f"model.backbone: its own weights ({told}) could not be fetched: {error}"


def _two_steps(runner: Runner) -> tuple[list[str], float, int]:
    """What each step logs, seconds of the second, and images of a step."""
    loader = runner.train_loop.dataloader
    cuda = torch.cuda.is_available()
    batch = loader.batch_size if cuda else min(_CPU_BATCH, loader.batch_size)
    batch = min(batch, len(loader.dataset))
    dataset = loader.dataset
    logged, seconds = [], 0.0
    runner.optim_wrapper.initialize_count_status(runner.model, 0, 2)
    runner.model.train()
    for number in range(2):
        images = [dataset[(number * batch + i) % len(dataset)] for i in range(batch)]
        data = loader.collate_fn(images)
        for hook in runner.hooks:
            if isinstance(hook, LambdaDecayHook):
                hook.before_train_iter(runner, number, data)
        started = time.perf_counter()
        losses = runner.model.train_step(data, optim_wrapper=runner.optim_wrapper)
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        values = {name: float(value.detach().float().mean()) for name, value in losses.items()}
        logged.append(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        bad = [name for name, value in values.items() if not abs(value) < float("inf")]
        if bad:
            raise FloatingPointError(f"step {number + 1}: {', '.join(bad)} is no number; {logged}")
    return logged, seconds, batch


def _parameters(model: nn.Module) -> str:
    model = model.module if hasattr(model, "module") else model
    count = sum(p.numel() for p in model.parameters())
    words = f"{type(model).__name__} with {count / 1e6:.2f} M parameters"
    parts = {name: getattr(model, name, None) for name in ("backbone", "head", "link_head")}
    sizes = [
        f"{name} {sum(p.numel() for p in part.parameters()) / 1e6:.2f} M"
        for name, part in parts.items()
        if isinstance(part, nn.Module)
    ]
    teacher = getattr(model, "teacher", None)
    if teacher is not None:
        held = sum(p.numel() for p in teacher.parameters()) / 1e6
        sizes.append(f"frozen teacher {teacher.name} {held:.2f} M")
    return f"{words} ({', '.join(sizes)})"


def _learning_rates(runner: Runner, epochs: int) -> str:
    """At five epochs, by the schedulers themselves run over all steps."""
    optimizer = runner.optim_wrapper.optimizer
    schedulers = runner.param_schedulers
    if isinstance(schedulers, dict):
        schedulers = [one for several in schedulers.values() for one in several]
    schedulers = schedulers or []
    wanted, found = _five(epochs), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a scheduler steps before its optimizer
        for epoch in range(epochs):
            if epoch in wanted:
                found[epoch] = max(group["lr"] for group in optimizer.param_groups)
            by_step = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
            for _ in range(len(runner.train_loop.dataloader) if by_step else 0):
                for scheduler in by_step:
                    scheduler.step()
            for scheduler in schedulers:
                if scheduler.by_epoch:
                    scheduler.step()
    return _course({epoch: f"{value:.3g}" for epoch, value in found.items()})


def _decays(runner: Runner) -> Iterator[str]:
    """What is trained with which decay."""
    names = {id(p): name for name, p in runner.model.named_parameters()}
    groups: dict[float, list[tuple[str, int]]] = defaultdict(list)
    for group in runner.optim_wrapper.optimizer.param_groups:
        for parameter in group["params"]:
            groups[group.get("weight_decay", 0.0)].append((names[id(parameter)], parameter.numel()))
    for decay, members in sorted(groups.items(), reverse=True):
        count = sum(size for _, size in members) / 1e6
        shown = [name for name, _ in members]
        kinds = sorted({name.rpartition(".")[2] for name in shown})
        yield f"{decay:g} on {count:.2f} M in {len(members)} tensors: {', '.join(kinds[:9])}"


def _weights(runner: Runner, epochs: int) -> Iterator[str]:
    for hook in runner.hooks:
        if isinstance(hook, LambdaDecayHook):
            head = hook._head
            course = {e: link_weight(e, head.loss_weight, *hook.schedule) for e in _five(epochs)}
            yield f"{head.key}: " + _course({e: f"{v:.4g}" for e, v in course.items()})


def _course(values: dict[int, str]) -> str:
    return ", ".join(f"{value} at epoch {epoch}" for epoch, value in values.items())


def _five(epochs: int) -> list[int]:
    return sorted({round(share * (epochs - 1) / 4) for share in range(5)})


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MMEngine's log of a run that is none."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
