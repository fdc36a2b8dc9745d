"""A checkpoint that a run cannot continue is refused by name, before training."""

import pytest
from mmengine.runner import Runner

from aal_plugin.mm.runs.protection import protected
from tests.mm.small import AAL, training

LINKS = dict(AAL["link_head"], links=[(1, 2)] * 4)


def train(folder, checkpoint=None, **changes):
    """One epoch, or a second one from a checkpoint."""
    cfg = training(folder, dict(AAL, link_head=LINKS), epochs=2 if checkpoint else 1)
    cfg.merge_from_dict(changes)
    cfg.resume, cfg.load_from = checkpoint is not None, checkpoint
    Runner.from_cfg(protected(cfg)).train()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    train(folder)
    return str(folder / "epoch_1.pth")


def optimizer(kind, **given):
    return {"optim_wrapper.optimizer": dict(type=kind, lr=0.1, _delete_=True, **given)}


CHANGES = [
    # the same shapes over other blocks, then other shapes
    ({"model.link_head.links": [(2, 3)] * 4}, r"links the blocks .*\(1, 2\).* config .*\(2, 3\)"),
    ({"model.link_head.links": "full"}, "links the blocks"),
    ({"model.head.num_classes": 12}, r"head.layers.head.weight is \(10, 16\) .* \(12, 16\) in"),
    (optimizer("SGD", momentum=0.9), "with AdamW, but this run has SGD"),
    (optimizer("Adam"), "with AdamW, but this run has Adam"),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES)
def test_a_run_that_differs_is_refused(finished, tmp_path, changes, words):
    with pytest.raises(ValueError, match=f"--resume: checkpoint '.*epoch_1.pth' .*{words}"):
        train(tmp_path, finished, **changes)
    assert not list(tmp_path.glob("*.pth"))


def test_a_run_without_the_links_is_refused(finished, tmp_path):
    plain = {key: AAL[key] for key in ("backbone", "head", "data_preprocessor")}
    cfg = training(tmp_path, dict(plain, type="ImageClassifier"), resume=True, load_from=finished)
    with pytest.raises(ValueError, match="link_head.links.0.weight is .* and missing in the model"):
        Runner.from_cfg(protected(cfg)).train()
