"""Links of a timm checkpoint are read with and without OpenMMLab's packages."""

from argparse import Namespace

import pytest
import torch

from aal_plugin import saved_links
from tests.timm.small import task


@pytest.fixture(params=["with OpenMMLab", "without"])
def packages(request, monkeypatch):
    if request.param == "without":
        monkeypatch.setattr(saved_links, "find_spec", lambda name: None)
    else:
        pytest.importorskip("mmpretrain")


@pytest.fixture
def checkpoint(tmp_path):
    one = task(links="alpha")
    path = tmp_path / "last.pth.tar"
    saved = dict(
        state_dict=one.get_eval_model().state_dict(),
        args=Namespace(model="vit"),
        task_state=one.get_task_state(),
    )
    torch.save(saved, path)
    return one, str(path)


def test_the_links_are_those_of_the_task(packages, checkpoint):
    one, path = checkpoint
    links = saved_links.read_links(path)
    model = one.get_trainable_module()
    assert links.ranges == model.links.ranges
    for level, weight in enumerate(links.state_dict.values()):
        torch.testing.assert_close(weight, model.links[level].weight.detach())


def test_a_wrong_file_is_an_error_that_names_it(packages, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"'no.pth': no such file in {tmp_path}"):
        saved_links.read_links("no.pth")
    with pytest.raises(ValueError, match="--ema: checkpoint .*last.pth.tar' has no averaged"):
        saved_links.read_links(checkpoint[1], ema=True)
    torch.save(dict(state_dict={}), "plain.pth")
    with pytest.raises(ValueError, match="'plain.pth' has no attention links"):
        saved_links.read_links("plain.pth")


def test_nothing_in_a_file_runs_as_code(packages, tmp_path):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save(dict(task_state=Bad()), tmp_path / "bad.pth")
    with pytest.raises(ValueError, match="bad.pth"):
        saved_links.read_links(str(tmp_path / "bad.pth"))
    assert not (tmp_path / "ran").exists()
