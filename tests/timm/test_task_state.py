"""The links of a checkpoint go into equal links alone."""

import pytest

from aal_plugin.core import AttentionLinks
from aal_plugin.timm.task_state import links_state, load_links_state


def test_links_state_goes_into_equal_links_alone():
    links, other = (AttentionLinks([(1, 2), (2, 2)], [3, 3], [4, 7]) for _ in range(2))
    load_links_state(other, links_state(links))
    assert all(a.equal(b) for a, b in zip(links.parameters(), other.parameters()))
    wider = AttentionLinks([(1, 2), (2, 2)], [3, 3], [4, 8])
    with pytest.raises(ValueError, match=r"links have channels \[4, 7\], this run's have \[4, 8\]"):
        load_links_state(wider, links_state(links))
    with pytest.raises(ValueError, match="not written by AttentionLinkTask"):
        load_links_state(other, dict(ranges=[]))
