"""What releases of torch before 2.6 lack, in one place: nothing else asks for a version.

`torch.compiler.is_compiling` and `torch.nn.attention` came with 2.3. From 2.6 on
`torch.load(weights_only=True)` can be relied on (CVE-2025-32434), and its allow-list takes
stand-ins; below, `load_listed` reads.
"""

from __future__ import annotations

import _compat_pickle
import codecs
import logging
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, SimpleNamespace
from typing import Any

import torch

TRUST = "AAL_TRUST_FILES"  # environment variable; 1 reads files of others on torch before 2.6
READS_DATA = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
_OF_A_RUN = ("last_checkpoint", "args.yaml", "summary.csv")  # MMEngine's file, then timm's
_LISTED_LATER: dict[str, Any] = {  # by torch, after 2.1
    "_codecs.encode": codecs.encode,
    "builtins.bytearray": bytearray,
    "builtins.complex": complex,
    "builtins.set": set,
    "torch.bool": torch.bool,
    "torch.device": torch.device,
    "torch.uint8": torch.uint8,
}
# The function itself, which torch.compile knows.
is_compiling: Callable[[], bool]
is_compiling = getattr(torch.compiler, "is_compiling", None) or torch._utils.is_compiling

_torch_load = torch.load
_Unpickler: Any = getattr(pickle, "_Unpickler")  # noqa: B009  in Python, so that BUILD can be checked
_logger = logging.getLogger(__name__)


def plain_attention() -> AbstractContextManager[None]:
    """Context in which attention uses plain operations, without a fused kernel."""
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ModuleNotFoundError:
        switches = dict(enable_flash=False, enable_mem_efficient=False, enable_math=True)
        return torch.backends.cuda.sdp_kernel(**switches)  # of CPUs too
    return sdpa_kernel(SDPBackend.MATH)


def load_listed(file: Any, map_location: Any, listed: Mapping[str, Any]) -> Any:
    """`torch.load` of a file that names, beside torch's own tensors, nothing but what is `listed`.

    Raises:
        PermissionError: the file lies in no run's folder, and AAL_TRUST_FILES is not 1.
        pickle.UnpicklingError: the file names anything else, or is a program of TorchScript.
    """
    _warn()
    if os.environ.get(TRUST) != "1" and not _is_of_a_run(file):
        raise PermissionError(
            f"checkpoint {str(file)!r} is in no folder of a run, and torch {torch.__version__} "
            f"cannot read it safely (CVE-2025-32434): set {TRUST}=1 if you trust it, or install "
            "torch 2.6 or later"
        )
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise pickle.UnpicklingError("rejected: a TorchScript program")
    if hasattr(file, "seek"):
        file.seek(0)
    own = torch._weights_only_unpickler._get_allowed_globals()
    reader = _reader({**_LISTED_LATER, **own, **listed})
    return _torch_load(file, map_location, reader, weights_only=False)


@cache  # once a process
def _warn() -> None:
    _logger.warning(
        "torch %s cannot be relied on to read checkpoints as data (CVE-2025-32434): read files "
        "that you trust, or install torch 2.6 or later",
        torch.__version__,
    )


def _is_of_a_run(file: Any) -> bool:
    folder = Path(file).expanduser().parent if isinstance(file, (str, Path)) else None
    return folder is not None and any((folder / name).is_file() for name in _OF_A_RUN)


def _reader(listed: Mapping[str, Any]) -> Any:
    """A pickle module for torch.load, that finds and changes nothing but what is listed."""

    class Unpickler(_Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
            module = _compat_pickle.IMPORT_MAPPING.get(module, module)
            if f"{module}.{name}" not in listed:
                # torch's own words, from which messages take the name.
                raise pickle.UnpicklingError(f"GLOBAL {module}.{name} was not an allowed global")
            return listed[f"{module}.{name}"]

        def build(self) -> None:
            if isinstance(self.stack[-2], (type, FunctionType, BuiltinFunctionType)):
                raise pickle.UnpicklingError("rejected: a state for a class or a function")
            self.load_build()

        dispatch = _Unpickler.dispatch | {pickle.BUILD[0]: build}

    def load(file: Any, **options: Any) -> Any:
        return Unpickler(file, **options).load()

    return SimpleNamespace(__name__="listed", Unpickler=Unpickler, load=load)
