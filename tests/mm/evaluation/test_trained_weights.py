import pytest
import torch

from aal_plugin.analysis.saved_links import saved_weights
from aal_plugin.mm.evaluation.trained_weights import load_strictly
from aal_plugin.mm.runs.as_data import load_as_data
from tests.mm.small import AAL, build


def save(path):
    torch.save(dict(state_dict=build(AAL).state_dict(), meta={}), path)
    return str(path)


def test_weights_that_do_not_fit_are_named_shortly(tmp_path):
    path = save(tmp_path / "c.pth")
    weights = saved_weights(load_as_data(path), False, path)
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
