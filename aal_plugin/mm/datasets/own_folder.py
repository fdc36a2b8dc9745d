"""What a config of an own image folder needs to know of it, found and filled in."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from aal_plugin.mm.configs.types import hooks_of, type_name

COURSE = 300  # epochs of the paper, which gammas and milestones are written for
_IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif")  # CustomDataset's


def fill_in_own_folder(cfg: Config) -> None:
    """Carry `data_root`, `epochs` and `batch_size` to where they belong, for `own_folder=True`.

    The classes are the sub-folders of the training folder, in the order of their names. They
    become the data sets' classes and the number of classes of head and preprocessor. λ decays over
    `epochs` as the paper's over 300: after the same share of them it is the same. DeiT's five
    warm-up epochs are at most a sixth of all.

    A config without that key is left alone; to fill in again changes nothing.

    Raises:
        FileNotFoundError: no such folder, or no classes in it.
        ValueError: train and val have other classes, a key is no number of 1 or more, or there are
            fewer training images than a batch.
    """
    if not cfg.get("own_folder"):
        return
    for key in ("epochs", "batch_size"):
        if not isinstance(cfg[key], int) or cfg[key] < 1:
            raise ValueError(f"{key}={cfg[key]!r}; choose a whole number of 1 or more")
    train = _folder(cfg, "train_dataloader")
    classes = _classes(train)
    if not classes:
        raise FileNotFoundError(
            f"data_root={cfg.data_root!r}: {train} has no folders; it needs one for each class, "
            "with that class's images in it"
        )
    for loader in ("val_dataloader", "test_dataloader"):
        other = _folder(cfg, loader)
        odd = sorted(set(_classes(other)) ^ set(classes))
        if odd:  # CustomDataset numbers each folder's own, and labels would differ
            raise ValueError(
                f"data_root={cfg.data_root!r}: {train} and {other} have to hold the same classes, "
                f"an empty folder where there is no image; one of them lacks {', '.join(odd)}"
            )
    images = sum(file.suffix.lower() in _IMAGES for file in train.rglob("*"))
    if images < cfg.batch_size:
        raise ValueError(
            f"batch_size={cfg.batch_size}: {train} has {images} images; choose {images} or less"
        )
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[loader].batch_size = cfg.batch_size
        cfg[loader].dataset.update(data_root=cfg.data_root, metainfo=dict(classes=classes))
    cfg.model.head.num_classes = cfg.data_preprocessor.num_classes = len(classes)
    _stretch(cfg)


def _stretch(cfg: Config) -> None:
    """λ's course and the warm-up, from the epochs that they are filled in for to `epochs`."""
    old, new = cfg.get("filled_in_for", COURSE), cfg.epochs
    for _, hook in hooks_of(cfg):
        if type_name(hook) != "LambdaDecayHook":
            continue
        hook.gammas = [gamma ** (old / new) for gamma in hook.gammas]
        hook.milestones = [max(1, round(epoch * new / old)) for epoch in hook.milestones]
    cfg.param_scheduler.warmup_epochs = min(
        cfg.param_scheduler.get("warmup_epochs", 5), max(1, new // 6)
    )
    cfg.train_cfg.max_epochs = cfg.filled_in_for = new


def _folder(cfg: Config, loader: str) -> Path:
    folder = Path(cfg.data_root) / cfg[loader].dataset.data_prefix
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data_root={cfg.data_root!r}: no folder {folder.absolute()}; it holds a folder of "
            f"images for each class. Another name: {loader}.dataset.data_prefix"
        )
    return folder


def _classes(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
