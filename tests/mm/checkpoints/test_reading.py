import pytest
import torch

from aal_plugin.analysis import link_share, link_strength, select_ranges
from aal_plugin.mm.checkpoints.reading import (
    load_strictly,
    read_checkpoint,
    read_links,
    saved_weights,
)
from tests.mm.small import AAL, build


def save(path, links=True, **extra):
    """A checkpoint as MMEngine writes it, of an AAL model with planted links."""
    model = build(AAL)
    with torch.no_grad():
        for link in model.link_head.links:
            link.weight.fill_(0.01)
            link.weight[:, 2:4] = 0.9  # block 2
    linked = dict(ranges=[(1, 3)] * 4, heads=[2, 2, 2])
    state_dict = model.state_dict()
    if not links:
        state_dict = {k: v for k, v in state_dict.items() if "link_head" not in k}
    meta = dict(attention_links=linked) if extra.pop("meta", True) else {}
    torch.save(dict(state_dict=state_dict, meta=meta, **extra), path)
    return str(path)


def test_planted_links_are_read_without_building_the_model(tmp_path):
    links = read_links(save(tmp_path / "c.pth"))
    strength = link_strength(*links)
    assert strength.shape == (4, 3) and strength[:, 1].tolist() == pytest.approx([0.9] * 4)
    assert select_ranges(link_share(*links), 0.8) == [(2, 2)] * 4


def test_averaged_links_are_taken_when_asked_for(tmp_path):
    # EMAHook swaps on saving: state_dict holds the average.
    raw = {f"module.{key}": value * 0 + 0.5 for key, value in build(AAL).state_dict().items()}
    path = save(tmp_path / "c.pth", ema_state_dict=dict(raw, steps=torch.tensor(3)))
    assert link_strength(*read_links(path, ema=True))[0, 1] == pytest.approx(0.9)
    assert link_strength(*read_links(path))[0, 1] == pytest.approx(0.5)


def test_checkpoints_without_what_is_asked_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.pth.*no such file"):
        read_links("nowhere.pth")
    (tmp_path / "half.pth").write_bytes(b"PK")
    with pytest.raises(ValueError, match="half.pth' is cut short"):
        read_links(str(tmp_path / "half.pth"))
    with pytest.raises(ValueError, match="plain.pth' has no attention links: it was trained"):
        read_links(save(tmp_path / "plain.pth", links=False))
    with pytest.raises(ValueError, match="no meta\\['attention_links'\\].*LinkHeatmapHook"):
        read_links(save(tmp_path / "meta.pth", meta=False))
    with pytest.raises(ValueError, match="--ema: checkpoint .* has no averaged weights"):
        read_links(save(tmp_path / "c.pth"), ema=True)
    torch.save(dict(weight=torch.zeros(1)), tmp_path / "bare.pth")
    with pytest.raises(ValueError, match="bare.pth' has no attention links"):
        read_links(str(tmp_path / "bare.pth"))


def test_weights_that_do_not_fit_are_named_shortly(tmp_path):
    path = save(tmp_path / "c.pth")
    weights = saved_weights(read_checkpoint(path), False, path)
    assert not load_strictly(build(AAL), weights, path).training
    wider = build(AAL, head=dict(AAL["head"], num_classes=11))
    words = (
        r"c.pth' does not fit the config: head.layers.head.weight is \(10, 16\) in the file and "
        r"\(11, 16\) in the model, and 1 more$"
    )
    with pytest.raises(ValueError, match=words):
        load_strictly(wider, weights, path)
    del weights["head.layers.head.bias"]
    with pytest.raises(ValueError, match="head.bias is missing in the file and \\(10,\\) in the"):
        load_strictly(build(AAL), weights, path)


def test_links_of_a_timm_run_are_read_and_what_is_said_of_them_is_checked(tmp_path):
    timm_small = pytest.importorskip("tests.timm.small")
    from argparse import Namespace

    one = timm_small.task(links="alpha")
    one.setup_ema(decay=0.5)
    path = str(tmp_path / "last.pth.tar")
    links = one.get_task_state()["links"]
    averaged = {name: weight + 1 for name, weight in links["state_dict"].items()}
    saved = dict(
        state_dict=one.get_eval_model().state_dict(),
        args=Namespace(model="vit"),
        task_state=dict(links=links),
        task_state_ema=dict(links=dict(links, state_dict=averaged)),
    )
    torch.save(saved, path)
    with torch.serialization.safe_globals([Namespace]):  # as timm loads; its end forgets the class
        torch.load(path, weights_only=True)
    found, ema = read_links(path), read_links(path, ema=True)
    assert found.ranges == links["ranges"] and found.heads == [2, 2, 2]
    weight = found.state_dict["links.0.weight"]
    torch.testing.assert_close(weight, one.get_trainable_module().links[0].weight.detach())
    torch.testing.assert_close(ema.state_dict["links.0.weight"], weight + 1)
    for wrong in (
        dict(links, heads=[2, 2]),
        dict(links, heads=[1, 1, 1]),
        dict(links, ranges=links["ranges"][:3]),
        dict(links, ranges="all"),
        dict(links, heads=[10**9] * 3),
        dict(links, ranges=[(1, 9)] * 4),
        dict(links, heads=None),
    ):
        torch.save(dict(saved, task_state=dict(links=wrong)), path)
        with pytest.raises(ValueError, match=r"task_state\['links'\] does not describe the links"):
            read_links(path)
    for wrong in (None, dict(state_dict=[1]), dict(links, state_dict={"a": 1})):
        torch.save(dict(saved, task_state=dict(links=wrong)), path)
        with pytest.raises(ValueError, match="has no attention links"):
            read_links(path)
        with pytest.raises(
            ValueError, match="not written by AttentionLinkTask|have ranges|Tensor|chann"
        ):
            one.load_task_state(
                dict(links=wrong)
            ) if wrong else one.get_trainable_module().link_loss.load_links_state(wrong)


def test_no_weights_of_the_teacher_are_asked_for_to_export():
    from mmengine.config import Config

    from aal_plugin.mm.export import _with_random_teacher

    timms = dict(type="TimmTeacher", model_name="resnet18", pretrained=True)
    model = Config(dict(model=dict(teacher=timms)))
    assert _with_random_teacher(model)["teacher"] == dict(
        timms, pretrained=False, checkpoint=None, allow_random_weights=True
    )
    mms = dict(type="MMTeacher", config="c.py", checkpoint="a.pth")
    teacher = _with_random_teacher(Config(dict(model=dict(teacher=mms))))["teacher"]
    assert teacher == dict(mms, checkpoint=None, allow_random_weights=True)
    assert _with_random_teacher(Config(dict(model=dict(type="ImageClassifier")))) == dict(
        type="ImageClassifier"
    )
