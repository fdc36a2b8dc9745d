"""Users' mistakes, and the words that the error must contain: a table whose rows really run.

    python -m tests.reliability.bad_inputs [WORD...]     # all rows, or those whose name has a word

Every row runs a tool in its own process. The tool must exit with status 2, print one line per
mistake and no traceback, name the mistake, and do so before it trains or writes a checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import runpy
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 5.0  # beyond the start of Python and its imports


class Row(NamedTuple):
    """A command line, and the words that its error must contain."""

    name: str
    command: Sequence[str]
    words: Sequence[str]


class Told(NamedTuple):
    status: int
    text: str
    seconds: float


# ------------------------------------------------------------------ the table

# (key, value, words): the config of tests/mm/small.py with one change. The error must contain the
# last part of the key and the given value.
SETTINGS: list[tuple[str, object, tuple[str, ...]]] = [
    # links
    ("model.link_head.links", 5, ("links=5", "'full', 'alpha', 'beta'")),
    ("model.link_head.links", "gamma", ("'gamma'", "'full', 'alpha', 'beta'")),
    ("model.link_head.links", [], ("links", "one pair per level")),
    ("model.link_head.links", [(0, 2)] * 4, ("(0, 2)", "1 <= first <= last <= 3")),
    ("model.link_head.links", [(1, 4)] * 4, ("(1, 4)", "1 <= first <= last <= 3")),
    ("model.link_head.links", [(1, 2)] * 3, ("3 (first, last) pairs", "4 levels")),
    # λ
    ("model.link_head.loss_weight", float("nan"), ("loss_weight=nan", "finite")),
    ("model.link_head.loss_weight", -1.0, ("loss_weight=-1.0", "0 or more")),
    ("model.link_head.loss_weight", "2000", ("loss_weight='2000'", "finite")),
    ("model.link_head.map_size", 1, ("map_size=1", "two positions")),
    ("model.link_head.map_size", 2.5, ("map_size=2.5", "positive")),
    ("model.link_head.map_size", (7, 7, 7), ("map_size=", "(h, w)")),
    ("model.link_head.antialias", "no", ("antialias='no'", "True or False")),
    ("model.link_head.linkz", "full", ("linkz", "links")),
    ("model.link_head.type", "AttentionLinkHaed", ("AttentionLinkHaed", "'AttentionLinkHead'")),
    ("model.link_head.type", "DistillHead", ("links", "DistillHead")),
    # the classifier
    ("model.type", "AALClasifier", ("AALClasifier", "'AALClassifier'")),
    ("model.teacer", dict(type="TimmTeacher"), ("teacer", "'teacher'")),
    ("model.images_rgb", "no", ("images_rgb='no'", "True, False")),
    ("model.teacher", None, ("no teacher", "TimmTeacher")),
    ("model.link_head.attention_layers", ["no.such"], ("attention_layers", "no.such")),
    (
        "model.link_head.attention_layers",
        ["layers.0.attn"] * 2,
        ("attention_layers", "more than once"),
    ),
    ("model.link_head", dict(type="AttentionTransfer"), ("AttentionTransfer",)),
    ("model.transfer_head", dict(type="AttentionLinkHead"), ("transfer_head", "AttentionLinkHead")),
    ("model.data_preprocessor.to_rgb", False, ("to_rgb=False", "images_rgb")),
    (
        "model.backbone.arch",
        "deit-x",
        ("model.backbone.arch='deit-x'", "did you mean 'deit-", "deit-tiny"),
    ),
    (
        "model.link_head.attention_layers",
        dict(attentions="layers.*.attn", attention="layers.*.attn"),
        ("attention_layers has the key 'attentions'", "patch_embed"),
    ),
    # the teacher
    ("model.teacher.type", "TimTeacher", ("TimTeacher", "'TimmTeacher'")),
    ("model.teacher.model_name", "resnet99", ("'resnet99'", "near names")),
    ("model.teacher.allow_random_weights", False, ("no weights", "checkpoint=FILE")),
    ("model.teacher.allow_random_weight", True, ("allow_random_weight", "allow_random_weights")),
    ("model.teacher.checkpoint", "gone.pth", ("teacher.checkpoint", "gone.pth", "no such file")),
    ("model.teacher.checkpoint", "{text}", ("teacher", "{text}", "neither a checkpoint")),
    ("model.teacher.checkpoint", "{cut}", ("teacher", "{cut}", "cut short")),
    ("model.teacher.checkpoint", "{pickle}", ("teacher", "{pickle}", "pickle")),
    ("model.teacher.checkpoint", "{nan}", ("teacher", "NaN or infinite")),
    ("model.teacher.checkpoint", "{other}", ("teacher.checkpoint", "does not fit")),
    (
        "model.teacher",
        dict(type="TimmTeacher", model_name="efficientnet_b6", pretrained=True),
        ("pretrained=True", "no weights for 'efficientnet_b6'"),
    ),
    ("model.teacher.layers", [], ("teacher.layers=[]", "list of module names")),
    ("model.teacher.layers", ["layer1", "layer1"], ("teacher.layers", "more than once")),
    ("model.teacher.layers", ["layer9"], ("teacher.layers", "'layer9'", "near names")),
    ("model.teacher.layers", "layer1", ("teacher.layers='layer1'", "list of module names")),
    ("model.teacher.layers", ["fc"], ("teacher.layers", "'fc'", "(B, C, h, w)")),
    ("model.teacher.num_classes", -1, ("num_classes=-1", "whole number")),
    ("model.teacher.dtype", "float8", ("dtype='float8'", "'bfloat16', 'float16'")),
    ("model.teacher.use_ema", "yes", ("use_ema='yes'", "True or False")),
    (
        "model.teacher",
        dict(type="MMTeacher", config="no.py", allow_random_weights=True),
        ("no.py",),
    ),
    ("model.teacher", dict(type="MMTeacher", allow_random_weights=True), ("config is missing",)),
    ("model.teacher", dict(type="MMTeacher", config="resnet18_8xb32_in1k"), ("no weights",)),
    # distillation
    ("model.distill_head", dict(type="DistillHead", kind="medium"), ("'medium'", "soft")),
    (
        "model.distill_head",
        dict(type="DistillHead", temperature=0),
        ("temperature=0", "above 0"),
    ),
    (
        "model.distill_head",
        dict(type="DistillHead", loss_weight=1.5),
        ("loss_weight=1.5", "0 to 1"),
    ),
    ("model.distill_head", dict(type="DistillHead", kind="soft", reduction="sum"), ("'sum'",)),
    ("model.distill_head", dict(type="DistillHead", reduction="elements"), ("no effect", "kind")),
    ("model.distill_head", dict(type="DistillHead", token=True), ("token=True", "DeiTClsHead")),
    ("model.distill_head", dict(type="DistillHead"), ("10 classes", "teacher 1000")),
    # attention transfer
    (
        "model.transfer_head",
        dict(type="ActivationTransferHead", kind="mean"),
        ("kind='mean'", "sum"),
    ),
    ("model.transfer_head", dict(type="ActivationTransferHead", power=0), ("power=0", "1 or more")),
    (
        "model.transfer_head",
        dict(type="ActivationTransferHead", reduction="sum"),
        ("reduction='sum'", "mean"),
    ),
    ("model.transfer_head", dict(type="ActivationTransferHead", pairs=[(9, 1)]), ("(9, 1)",)),
    ("model.transfer_head", dict(type="ActivationTransferHead", pairs=[]), ("pairs=[]",)),
    ("model.transfer_head", dict(type="HintHead", pairs=[(0, 1)]), ("(0, 1)", "from 1")),
    ("model.transfer_head", dict(type="GradientTransferHead", kind="l1"), ("'l1'", "teacher")),
    ("model.transfer_head", dict(type="GradientTransferHead", loss_weight=-1), ("loss_weight=-1",)),
    ("model.transfer_head", dict(type="HintHeads"), ("HintHeads", "'HintHead'")),
    # λ's schedule
    ("default_hooks.aal.gammas", (1.5,), ("gammas", "1.5", "[0, 1]")),
    ("default_hooks.aal.gammas", "0.99", ("gammas", "0.99", "[0, 1]")),
    ("default_hooks.aal.gammas", None, ("gammas", "None", "[0, 1]")),
    ("default_hooks.aal.milestones", (2, 5), ("milestones=(2, 5)", "3 gammas")),
    ("default_hooks.aal.milestones", (2.5,), ("milestones=(2.5,)", "whole number")),
    ("default_hooks.aal.stop_epoch", -1, ("stop_epoch=-1", "0 or more")),
    ("default_hooks.aal.start_epoch", -2, ("start_epoch=-2", "0 or more")),
    ("default_hooks.aal.head", "link", ("head='link'", "link_head")),
    ("default_hooks.aal.head", "distill_head", ("distill_head", "needs a")),
    ("default_hooks.aal.gama", 0.9, ("gama", "'gammas'")),
    ("default_hooks.aal.type", "LambdaDecayHok", ("LambdaDecayHok", "'LambdaDecayHook'")),
    ("default_hooks.aal", dict(type="LambdaDecayHook"), ("gammas is missing",)),
    (
        "default_hooks.twice",
        dict(type="LambdaDecayHook", gammas=0.9),
        ("two LambdaDecayHooks", "link_head"),
    ),
    ("default_hooks.heat", dict(type="LinkHeatmapHook", interval=0), ("interval=0", "1 or more")),
    ("default_hooks.logger.interval", 0, ("interval must be greater than 0",)),
    # data
    ("train_dataloader.dataset.split", "dev", ("split='dev'", "'train', 'val' or 'test'")),
    ("train_dataloader.dataset.num_images", 0, ("num_images=0", "1 or more")),
    ("train_dataloader.dataset.size", 3, ("size=3",)),
    ("train_dataloader.dataset.seed", -1, ("seed=-1", "0 or more")),
    ("train_dataloader.dataset.sise", 24, ("sise", "'size'")),
    ("train_dataloader.dataset.type", "ShapeDataset", ("ShapeDataset", "'ShapesDataset'")),
    ("model.head.num_classes", 5, ("10 classes", "num_classes=5", "train_dataloader")),
    (
        "train_dataloader.dataset",
        "{imagenet}",
        ("train_dataloader.dataset", "missing", "data_root"),
    ),
    ("train_dataloader.dataset", "{cub}", ("images.txt", "CUB", "data_root")),
    ("train_dataloader.dataset", "{flowers}", ("setid.mat", "Flowers102", "data_root")),
    ("train_dataloader.dataset", "{custom}", ("missing", "CustomDataset", "data_root")),
    (
        "train_dataloader.dataset",
        "{fewfolders}",
        ("number of subfolders (2)", "specified classes (1000)"),
    ),
    ("train_dataloader.dataset", "{subset0}", ("fraction=0", "(0, 1]")),
    ("train_dataloader.dataset", "{nofraction}", ("fraction is missing", "ClassBalancedSubset")),
    ("train_dataloader.dataset", "{badimage}", ("bad.png", "failed to load")),
    ("train_dataloader.dataset", "{outside}", ("outside", "data_root")),
    ("train_dataloader.batch_size", 0, ("train_dataloader.batch_size=0", "1 or more")),
    ("train_dataloader.persistent_workers", True, ("persistent_workers=True", "num_workers=0")),
    # checkpoints
    ("load_from", "gone.pth", ("gone.pth", "no such file")),
    ("load_from", "{empty}", ("{empty}", "is empty")),
    ("load_from", "{damaged}", ("{damaged}", "checksum")),
    ("load_from", "{other}", ("{other}", "another model")),
    ("load_from", "{nanstudent}", ("{nanstudent}", "NaN or infinite")),
    ("load_from", "{code}", ("{code}", "more than weights")),
    ("load_from", "{html}", ("{html}", "web page")),
    ("load_from", "{lfs}", ("{lfs}", "git lfs pull")),
    # keys that nothing reads
    ("optim_wraper", dict(optimizer=dict(lr=1.0)), ("optim_wraper", "'optim_wrapper'")),
    ("train_config", dict(max_epochs=9), ("train_config", "'train_cfg'")),
    ("default_hooks.links", None, ("default_hooks.links=None", "_delete_=True")),
    # what would fail after an epoch, or do nothing
    ("train_cfg.max_epochs", 0, ("train_cfg.max_epochs=0", "1 or more")),
    ("train_cfg.val_interval", 0, ("val_interval=0", "1 or more")),
    ("default_hooks.aal.start_epoch", 9, ("start_epoch=9", "ends after 1 epochs")),
    (
        "default_hooks.checkpoint",
        dict(type="CheckpointHook", save_best="acc"),
        ("save_best='acc'", "'accuracy/top1'"),
    ),
    (
        "default_hooks.stop",
        dict(type="EarlyStoppingHook", monitor="acc"),
        ("monitor='acc'", "'accuracy/top1'"),
    ),
    ("val_evaluator.topk", (1, 11), ("val_evaluator", "Top-11")),
    ("train_dataloader.dataset", "{outsideclasses}", ("label 17", "num_classes=10", "from 0 to 9")),
    ("train_dataloader.dataset", "{severallabels}", ("ClassBalancedSubset", "labels [0, 1]")),
    (
        "several",
        {"train_dataloader.batch_size": 64, "train_dataloader.drop_last": True},
        ("no batch", "batch_size=64", "40 or less"),
    ),
    # several at once
    (
        "several",
        {"model.link_head.lambda_": 1, "default_hooks.aal.gama": 1, "load_from": "gone.pth"},
        ("3 mistakes", "lambda_", "gama", "gone.pth"),
    ),
    # the runner's own
    ("optim_wrapper.optimizer.type", "AdamX", ("AdamX",)),
    ("optim_wrapper.optimizer.lrr", 1.0, ("lrr",)),
    ("train_cfg.max_epochs", "two", ("two",)),
    ("val_evaluator.type", "Acuracy", ("Acuracy",)),
]

# Command lines: {config} is a good config, {run} its checkpoint.
COMMANDS: list[tuple[str, tuple[str, ...]]] = [
    ("tools/train.py", ("config",)),
    ("tools/train.py no/such.py", ("no/such.py", "no such file")),
    ("tools/train.py {folder}", ("{folder}",)),
    ("tools/train.py {text}", ("{text}",)),
    ("tools/train.py {broken}", ("{broken}", "line 2")),
    ("tools/train.py {baseless}", ("nothere.py",)),
    ("tools/train.py {config} --launcher torch", ("--launcher", "pytorch")),
    ("tools/train.py {config} --cfg-options model", ("--cfg-options",)),
    ("tools/train.py {config} --resume gone.pth", ("gone.pth", "no such file")),
    ("tools/train.py {config} --resumee", ("--resumee",)),
    (
        "tools/train.py configs/folder/aal_deit-s_folder.py --cfg-options data_root=nowhere",
        ("nowhere",),
    ),
    ("tools/train.py configs/aal_deit-s_in1k-5pct.py", ("imagenet", "data_root", "missing")),
    ("tools/test.py {config}", ("checkpoint",)),
    ("tools/test.py {config} gone.pth", ("gone.pth", "no such file")),
    ("tools/test.py {config} {text}", ("{text}", "neither a checkpoint")),
    ("tools/test.py {config} {other}", ("{other}", "another model")),
    ("tools/test.py {config} {nanstudent}", ("{nanstudent}", "NaN or infinite")),
    ("tools/export_student.py {config} gone.pth out.pth", ("gone.pth", "no such file")),
    ("tools/export_student.py {config} {other} out.pth", ("{other}", "does not fit")),
    ("tools/export_student.py {config} {run} out.pth --ema", ("--ema", "no averaged weights")),
    ("tools/export_student.py {plain} {run} out.pth", ("ImageClassifier", "AALClassifier")),
    ("tools/export_student.py nosuch.py {run} out.pth", ("nosuch.py",)),
    ("tools/export_student.py {config} {run} out.pth --format torch", ("--format", "'onnx'")),
    ("tools/export_student.py {config} {folder} out.onnx --format onnx", ("{folder}", "folder")),
    ("tools/export_student.py {config} {run} out.onnx", ("out.onnx", ".pth", "--format onnx")),
    ("tools/export_student.py {config} {run} out.pth --image-size 0", ("--image-size=0",)),
    ("tools/make_subset.py nowhere out.txt --fraction 0.1", ("nowhere", "no such folder")),
    ("tools/make_subset.py {images} out.txt --fraction 0", ("--fraction", "(0, 1]")),
    ("tools/make_subset.py {images} out.txt --fraction ten", ("--fraction", "ten")),
    ("tools/make_subset.py {images} out.txt", ("--fraction",)),
    ("tools/compare.py nosuch.py", ("nosuch.py",)),
    ("tools/compare.py {config} --seeds x", ("--seeds", "x")),
    ("tools/compare.py {config} {config}", ("several configs have this name",)),
    ("tools/compare.py {config} --jobs 0", ("--jobs", "1 or more")),
    ("tools/analysis/plot_links.py gone.pth out.png", ("gone.pth", "no such file")),
    ("tools/analysis/plot_links.py {other} out.png", ("{other}", "no attention links")),
    ("tools/analysis/plot_links.py {badlinks} out.png", ("{badlinks}", "attention_links")),
    ("tools/analysis/select_links.py gone.pth", ("gone.pth", "no such file")),
    ("tools/analysis/select_links.py {run} --keep 2", ("--keep 2", "(0, 1]")),
    ("tools/analysis/select_links.py {other}", ("{other}", "no attention links")),
    ("tools/analysis/select_links.py {hugelinks}", ("{hugelinks}", "attention_links")),
    ("tools/analysis/show_attention.py {config} gone.pth", ("gone.pth", "no such file")),
    ("tools/analysis/show_attention.py {config} {run} gone.png", ("gone.png", "no such file")),
    ("tools/analysis/show_attention.py {config} {run} --blocks 9", ("--blocks", "1 to 3")),
    ("tools/analysis/show_attention.py {config} {run} {folder}", ("{folder}", "no image")),
    ("tools/analysis/show_attention.py {config} {run} {badpng}", ("{badpng}",)),
    ("tools/analysis/compare_attention.py out.png --student a {config} gone.pth", ("gone.pth",)),
    (
        "tools/analysis/compare_attention.py out.png --student a {config} {run} --threshold 1 2",
        ("--threshold", "1 values"),
    ),
    ("tools/analysis/compare_runs.py {folder} out.png", ("{folder}", "no training run")),
    ("tools/analysis/links_over_epochs.py {folder} out.png", ("{folder}", "LinkHeatmapHook")),
    ("tools/analysis/agreement.py out.png {config}", ("a checkpoint after each config",)),
    ("tools/analysis/agreement.py out.png {config} gone.pth", ("gone.pth", "no such file")),
    ("tools/benchmark.py --only nothing --count", ("--only", "--count")),
    ("tools/benchmark.py --student no_such_vit --count", ("no_such_vit",)),
    ("tools/benchmark.py --teacher no_such_cnn --count", ("no_such_cnn",)),
    ("tools/benchmark.py --dtype float8 --count", ("float8",)),
    ("tools/benchmark.py --links gamma --count", ("gamma", "'full', 'alpha', 'beta'")),
    ("tools/timm_train.py gone.py", ("gone.py", "no such file")),
    ("tools/timm_train.py {broken}", ("{broken}", "line 2")),
    ("tools/timm_train.py {plain}", ("{plain}", "it lacks")),
]


# ------------------------------------------------------------------ the files that it needs


def make_files(home: Path) -> dict[str, str]:
    """Good and bad files, by their names in the table."""
    import numpy as np
    import torch
    from PIL import Image

    from tests.mm.small import PLAIN, build, training

    files: dict[str, str] = {}

    def file(name: str, content: bytes, ending: str = ".pth") -> None:
        path = home / f"{name}file{ending}"
        path.write_bytes(content)
        files[name] = str(path)

    def saved(name: str, what: object, **options: object) -> None:
        files[name] = str(home / f"{name}file.pth")
        torch.save(what, files[name], **options)

    file("text", b"this is no checkpoint\n")
    file("empty", b"")
    file("html", b"<!DOCTYPE html><html></html>")
    file("lfs", b"version https://git-lfs.github.com/spec/v1\n")
    file("pickle", pickle.dumps(dict(a=1)))
    file("broken", b"model = dict()\nmodel = = 3\n", ".py")
    file("baseless", b'_base_ = "nothere.py"\n', ".py")
    (home / "folderfile").mkdir()
    files["folder"] = str(home / "folderfile")

    config = training(home / "run", epochs=1)
    config.default_hooks.aal = config.custom_hooks[0]
    config.custom_hooks = []
    config.update(
        test_dataloader=config.val_dataloader, test_evaluator=config.val_evaluator, test_cfg=dict()
    )
    files["config"] = dump(config, home / "goodfile.py")
    plain = training(home / "plainrun", model=PLAIN, epochs=1)
    files["plain"] = dump(plain, home / "plainfile.py")

    trained = build(config.model.to_dict())
    links = dict(ranges=trained.link_head.links.ranges, heads=trained.link_head.links.heads)
    weights = trained.state_dict()
    saved("run", dict(state_dict=weights, meta=dict(epoch=1, attention_links=links)))
    saved("other", dict(state_dict=torch.nn.Linear(3, 2).state_dict(), meta={}))
    holed = {key: value.clone() for key, value in weights.items()}
    holed["backbone.layers.1.attn.qkv.weight"][0, 0] = float("nan")
    saved("nanstudent", dict(state_dict=holed, meta={}))
    bad = dict(links, ranges="everything")
    saved("badlinks", dict(state_dict=weights, meta=dict(attention_links=bad)))
    huge = dict(links, heads=[10**9] * 10**4)
    saved("hugelinks", dict(state_dict=weights, meta=dict(attention_links=huge)))
    whole = Path(files["run"]).read_bytes()
    file("cut", whole[: len(whole) // 2])
    middle = len(whole) // 2
    file(
        "damaged",
        whole[:middle]
        + bytes(x ^ 0xFF for x in whole[middle : middle + 64])
        + whole[middle + 64 :],
    )
    import timm

    teacher = timm.create_model("test_resnet").state_dict()
    next(iter(teacher.values()))[0] = float("nan")
    saved("nan", teacher)
    saved("code", dict(state_dict=weights, meta=dict(hook=Calls())))

    images = home / "imagesfolder"
    for label in ("a", "b"):
        (images / label).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(np.full((24, 24, 3), 40 * number, np.uint8)).save(
                images / label / f"{number}.png"
            )
    files["images"] = str(images)
    (home / "badimages" / "a").mkdir(parents=True)
    (home / "badimages" / "a" / "bad.png").write_bytes(b"not an image")
    files["badpng"] = str(home / "badimages" / "a" / "bad.png")
    (home / "outside.txt").write_text("../../outside/x.png 0\n")
    for name, labels in (("classes", [3, 17]), ("several", [[0, 1], [2]])):
        listed = [
            dict(img_path=f"{'ab'[i]}/0.png", gt_label=label) for i, label in enumerate(labels)
        ]
        (home / f"{name}.json").write_text(json.dumps(dict(metainfo={}, data_list=listed)))
    return files


class Calls:
    """A pickle of it calls a function."""

    def __reduce__(self) -> tuple:
        return (os.getcwd, ())


def data_sets(home: Path) -> dict[str, dict]:
    """Data sets that replace the shapes in a row."""
    pipeline = [
        dict(type="LoadImageFromFile"),
        dict(type="Resize", scale=(24, 24)),
        dict(type="PackInputs"),
    ]
    folder = dict(type="CustomDataset", pipeline=pipeline)
    listed = dict(data_root=str(home / "imagesfolder"), pipeline=pipeline)
    shapes = dict(
        type="ShapesDataset",
        size=24,
        split="train",
        num_images=40,
        pipeline=[dict(type="PackInputs")],
    )
    nowhere = str(home / "nowhere")
    return dict(
        imagenet=dict(type="ImageNet", data_root=nowhere, split="train", pipeline=pipeline),
        cub=dict(type="CUB", data_root=nowhere, split="train", pipeline=pipeline),
        flowers=dict(type="Flowers102", data_root=nowhere, split="train", pipeline=pipeline),
        custom=dict(folder, data_root=nowhere),
        fewfolders=dict(listed, type="ImageNet", split=""),
        badimage=dict(folder, data_root=str(home / "badimages")),
        outside=dict(
            type="ClassBalancedSubset",
            fraction=1.0,
            dataset=dict(
                folder,
                data_root=str(home / "imagesfolder"),
                ann_file=str(home / "outside.txt"),
                metainfo=dict(classes=["a", "b"]),
            ),
        ),
        outsideclasses=dict(
            listed,
            type="BaseDataset",
            ann_file=str(home / "classes.json"),
            classes=list("abcdefghij"),
        ),
        severallabels=dict(
            type="ClassBalancedSubset",
            fraction=0.5,
            dataset=dict(listed, type="MultiLabelDataset", ann_file=str(home / "several.json")),
        ),
        subset0=dict(type="ClassBalancedSubset", fraction=0, dataset=shapes),
        nofraction=dict(type="ClassBalancedSubset", dataset=shapes),
    )


def dump(config: object, path: Path) -> str:
    text = re.sub(r"(?<![\w'\"])(nan|inf)(?![\w'\"])", r'float("\1")', config.pretty_text)
    path.write_text(text)
    return str(path)


def rows(home: Path) -> Iterator[Row]:
    """The table, with its files created."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope("mmpretrain")
    files, sets = make_files(home), data_sets(home)

    def filled(words: object) -> object:
        if not isinstance(words, str) or not words.startswith("{"):
            return words
        name = words.strip("{}")
        return sets[name] if name in sets else files[name]

    for index, (key, value, words) in enumerate(SETTINGS):
        config = Config.fromfile(files["config"])
        config.work_dir = str(home / f"settings{index}")
        config.experiment_name = f"bad{index}"
        if key == "several":
            changes = dict(value)
        else:
            given = filled(value)
            whole = isinstance(given, dict)
            if whole:
                given = dict(given, _delete_=True) if _there(config, key) else given
            changes = {key: given}
        if isinstance(value, str) and value.strip("{}") in ("badimage", "outside"):
            changes["train_dataloader.batch_size"] = 1
        try:
            config = _changed(config, changes)
        except Exception as error:
            raise RuntimeError(f"{key}={value!r}") from error
        path = dump(config, home / f"settings{index}.py")
        found = [Path(str(filled(w))).name if w.startswith("{") else w for w in words]
        yield Row(f"{key}={value!r}", ("tools/train.py", path), found)
    for line, words in COMMANDS:
        command = [str(filled(part)) for part in line.split()]
        found = [Path(str(filled(w))).name if w.startswith("{") else w for w in words]
        yield Row(line, command, found)


def _there(config: dict, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return False
        config = config[part]
    return isinstance(config, dict)


def _changed(config: object, changes: dict[str, object]) -> object:
    """The config with each value set at its key."""
    for key, value in changes.items():
        *parents, last = key.split(".")
        at = config
        for part in parents:
            at = at[part]
        if isinstance(value, dict):
            value = {k: v for k, v in value.items() if k != "_delete_"}
        at[last] = value
    return config


# ------------------------------------------------------------------ running it


def run(command: Sequence[str], cwd: Path) -> Told:
    """Run a tool in a forked process, which has the imports of this one already."""
    with tempfile.TemporaryFile() as out:
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            _be(command, cwd, out.fileno())
        _, status = os.waitpid(child, 0)
        seconds = time.monotonic() - started
        out.seek(0)
        text = out.read().decode(errors="replace")
    return Told(os.waitstatus_to_exitcode(status), text, seconds)


def _be(command: Sequence[str], cwd: Path, out: int) -> None:
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w", buffering=1) for n in (1, 2))
    status = 0
    try:
        os.chdir(cwd)
        sys.argv = [str(ROOT / command[0]), *command[1:]]
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
        if status and not isinstance(left.code, int):
            print(left.code, file=sys.stderr)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def faults(row: Row, told: Told, home: Path) -> list[str]:
    """What is wrong with the report of a mistake."""
    found = []
    last = told.text.strip().splitlines()[-1:] or [""]
    if told.status != 2:
        found.append(f"status {told.status}")
    if "Traceback (most recent call last)" in told.text:
        found.append("a traceback")
    mark = f"{Path(row.command[0]).name}: error"
    said = told.text[told.text.rfind(mark) :] if mark in told.text else last[0]
    missing = [word for word in row.words if word not in said]
    if missing:
        found.append(f"without {missing}: {said[-600:].strip()}")
    if any(home.glob("settings*/epoch_*.pth")):
        found.append("a checkpoint was written")
        for file in home.glob("settings*/epoch_*.pth"):
            file.unlink()
    return found


def main(words: Sequence[str], tell: Callable[[str], None] | None = print) -> int:
    """Run the rows whose name has one of the words; returns the number of wrong reports."""
    warnings.simplefilter("ignore")
    import mmengine.runner  # noqa: F401
    import timm  # noqa: F401
    import torch

    torch.set_num_threads(1)  # a forked process would wait for threads that it does not have

    import aal_plugin.analysis
    import aal_plugin.mm  # noqa: F401

    wrong, slowest, count = 0, (0.0, ""), 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "configs").symlink_to(ROOT / "configs")
        table = list(rows(home))
        for row in table:
            if words and not any(word in row.name for word in words):
                continue
            told = run(row.command, home)
            count += 1
            slowest = max(slowest, (told.seconds, row.name))
            bad = faults(row, told, home)
            if told.seconds > SECONDS:
                bad.append(f"only after {told.seconds:.1f} s")
            if bad:
                wrong += 1
                tell(f"{row.name}\n    " + "\n    ".join(bad))
    right = f"{count} mistakes, {count - wrong} reported as they should be"
    tell(f"{right}; the slowest took {slowest[0]:.1f} s")
    return wrong


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
