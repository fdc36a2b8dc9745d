"""Reads the links of a checkpoint file, of MMEngine or timm."""

from __future__ import annotations

import pickle
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import torch

from aal_plugin.analysis.saved_links import SavedLinks, links_of_task
from aal_plugin.process import searched_in


def read_links(path: str, ema: bool = False) -> SavedLinks:
    """Read the links of a checkpoint without building its model; no code in the file is run.

    Without OpenMMLab's packages it reads timm's checkpoints alone.

    Args:
        path: the file.
        ema: read the average of EMAHook or of timm's --model-ema, not the raw links.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the file is no checkpoint, has no links, or does not say which blocks they link.
    """
    if find_spec("mmpretrain") is None:
        return links_of_task(read_timm_checkpoint(path), ema, path)
    from aal_plugin.mm.checkpoints.reading import read_links  # slow to import

    return read_links(path, ema)


def read_timm_checkpoint(path: str) -> dict:
    """Load a checkpoint of timm's train.py to the CPU, as data only.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the file is incomplete, or of another kind.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint {path!r}: no such file{searched_in(path)}")
    try:
        with torch.serialization.safe_globals([Namespace]):  # the options of the run
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(
            f"checkpoint {path!r} cannot be read: it is incomplete, or is not timm's; for "
            "MMPretrain's install aal_plugin[openmmlab]"
        ) from error
    return saved if isinstance(saved, dict) else {}
