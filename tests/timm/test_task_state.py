"""The links of a checkpoint go into equal links alone."""

import pytest
import torch

from aal_plugin.core import AttentionLinks
from aal_plugin.timm.task_state import links_state, load_links_state

from .small import batch, task


def test_links_state_goes_into_equal_links_alone():
    links, other = (AttentionLinks([(1, 2), (2, 2)], [3, 3], [4, 7]) for _ in range(2))
    load_links_state(other, links_state(links))
    assert all(a.equal(b) for a, b in zip(links.parameters(), other.parameters()))
    wider = AttentionLinks([(1, 2), (2, 2)], [3, 3], [4, 8])
    with pytest.raises(ValueError, match=r"links have channels \[4, 7\], this run's have \[4, 8\]"):
        load_links_state(wider, links_state(links))
    with pytest.raises(ValueError, match="not written by AttentionLinkTask"):
        load_links_state(other, dict(ranges=[]))


def test_guidance_goes_into_equal_guidance_alone():
    one, other = task(guidance=2.5), task(guidance=2.5)
    with torch.no_grad():
        one.get_trainable_module().guidance.regressors[0].weight.fill_(0.5)
    other.load_task_state(one.get_task_state())
    states = [each.get_trainable_module().guidance.state_dict() for each in (one, other)]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    fewer = task(guidance=dict(weight=1.0, levels=[2, 4]))
    with pytest.raises(ValueError, match=r"the checkpoint's guidance has \(block, level\) pairs"):
        fewer.load_task_state(one.get_task_state())


def test_guidance_goes_on_where_lambda_is_zero():
    ours = task(guidance=2.5, stop_epoch=1)
    ours.set_epoch(1)
    result = ours(*batch())
    torch.testing.assert_close(result["loss"], result["task_loss"] + result["guidance_loss"])
    result["loss"].backward()
    linked = ours.get_trainable_module()
    assert result["guidance_loss"] > 0 and linked.guidance.regressors[0].weight.grad.any()
    assert not any(parameter.grad.any() for parameter in linked.links.parameters())
