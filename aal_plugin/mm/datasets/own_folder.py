"""Completes a config for your own image folder: classes, batch size, epochs."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

_IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif")  # CustomDataset's


def fill_in_own_folder(cfg: Config) -> None:
    """Copy `data_root`, `epochs` and `batch_size` to the keys that need them (`own_folder=True`).

    The classes are the sub-folders of the training folder, sorted by name. They set the classes of
    the data sets and the number of classes of head and preprocessor. The warm-up takes DeiT's five
    epochs, but at most a sixth of all epochs.

    A config without `own_folder` does not change. A second call changes nothing.

    Raises:
        FileNotFoundError: the folder does not exist or has no classes.
        ValueError: train and val have different classes; `epochs` or `batch_size` is not a whole
            number of 1 or more; or there are fewer training images than a batch.
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
            f"data_root={cfg.data_root!r}: {train} has no folders; create one folder for each "
            "class, with the images of that class in it"
        )
    for loader in ("val_dataloader", "test_dataloader"):
        other = _folder(cfg, loader)
        odd = sorted(set(_classes(other)) ^ set(classes))
        if odd:  # CustomDataset numbers the classes of each folder, so labels would differ
            raise ValueError(
                f"data_root={cfg.data_root!r}: {train} and {other} must have the same class "
                f"folders, but one of them lacks {', '.join(odd)}; create an empty folder for a "
                "class without images"
            )
    images = sum(file.suffix.lower() in _IMAGES for file in train.rglob("*"))
    if images < cfg.batch_size:
        raise ValueError(
            f"batch_size={cfg.batch_size}: {train} has only {images} images; choose {images} or "
            "less"
        )
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[loader].batch_size = cfg.batch_size
        cfg[loader].dataset.update(data_root=cfg.data_root, metainfo=dict(classes=classes))
    cfg.model.head.num_classes = cfg.data_preprocessor.num_classes = len(classes)
    warmup = cfg.param_scheduler.get("warmup_epochs", 5)
    cfg.param_scheduler.warmup_epochs = min(warmup, max(1, cfg.epochs // 6))
    cfg.train_cfg.max_epochs = cfg.epochs


def _folder(cfg: Config, loader: str) -> Path:
    folder = Path(cfg.data_root) / cfg[loader].dataset.data_prefix
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data_root={cfg.data_root!r}: no folder {folder.absolute()}; create it with one "
            f"folder of images for each class, or set {loader}.dataset.data_prefix to its name"
        )
    return folder


def _classes(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
