"""Tests for a GPU. On a CPU they run tiny models, which shows that their code runs.

`make gpu` sets AAL_GPU_TESTS_DEVICE=cuda: without CUDA they are skipped then.
"""

import os
from pathlib import Path

import pytest
import torch

DEVICE = os.environ.get("AAL_GPU_TESTS_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")


def pytest_collection_modifyitems(items):
    missing = DEVICE == "cuda" and not torch.cuda.is_available()
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            # torch's compiler has warnings of its own on each kind of GPU.
            item.add_marker(pytest.mark.filterwarnings("default"))
            if missing:
                item.add_marker(pytest.mark.skip(reason="no CUDA device was found"))


@pytest.fixture
def device():
    return DEVICE


@pytest.fixture(autouse=True)
def exact_float32():
    """TF32 off in products and convolutions, as each test starts."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    set_tf32(False)
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def set_tf32(on):
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on
