"""Sums of the checkpoints that a config reads: the same weights have the same sum."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from aal_plugin.mm.runs.as_data import load_as_data


def weights_of(cfg: Config) -> dict[str, str]:
    """The SHA-1 of the weights in every checkpoint of a config, such as the teacher's, by its path.

    Two trainings that end with equal weights have equal sums, though their files, which hold the
    log's times, differ. A file without a plain state dict is summed as it is.
    """
    return _weights(cfg.to_dict())


def _weights(part: Any) -> dict[str, str]:
    if isinstance(part, (list, tuple)):
        part = dict(enumerate(part))
    if not isinstance(part, dict):
        return {}
    found: dict[str, str] = {}
    for key, value in part.items():
        if key != "checkpoint" or not isinstance(value, str):
            found.update(_weights(value))
        elif Path(value).is_file():
            found[value] = _sum_of(value)
    return found


def _sum_of(path: str) -> str:
    try:
        saved = load_as_data(path)
    except ValueError:
        saved = None
    weights = saved.get("state_dict", saved) if isinstance(saved, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(x, Tensor) for x in weights.values()):
        # Another form, such as DeiT's `model`.
        return hashlib.sha1(Path(path).read_bytes()).hexdigest()
    total = hashlib.sha1()
    for name, tensor in sorted(weights.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
