import os
import tempfile
from unittest import mock

import pytest

from . import older

# One thread a process: the models are small, and torch's pools would fight over two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# Drawn once a session, and never among the user's.
_cache = tempfile.TemporaryDirectory()
os.environ["AAL_CACHE"] = _cache.name


@pytest.fixture(autouse=True)
def _same_environment():
    """Gives each test the variables that the last one began with: train.py sets LOCAL_RANK."""
    with mock.patch.dict(os.environ):
        yield


def pytest_collection_modifyitems(items):
    older.mark(items)
