import copy

import pytest

from . import small


@pytest.fixture(autouse=True)
def shared_configs_stay_as_they_are():
    """MMPretrain's constructors write into the dicts that they are given."""
    names = ("PLAIN", "AAL", "TEACHER")
    before = {name: copy.deepcopy(getattr(small, name)) for name in names}
    yield
    for name in names:
        assert getattr(small, name) == before[name], f"small.{name} was changed; copy it first"
