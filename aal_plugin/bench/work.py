"""The work of each part of AAL's step."""

from __future__ import annotations

from dataclasses import replace

from .counting import Counts, count
from .setting import Setting
from .steps import Steps
from .straightforward import distance_of_maps


def counts(setting: Setting) -> dict[str, Counts]:
    """Operations, flops and bytes of the parts of AAL's step at the setting's batch.

    Counted eagerly at batches of one and two, and extrapolated: the counts are linear in batch.
    """
    one, two = (_counts_at(replace(setting, batch=batch, compile=False)) for batch in (1, 2))
    return {
        name: Counts(*(a + (b - a) * (setting.batch - 1) for a, b in zip(one[name], two[name])))
        for name in one
    }


def _counts_at(setting: Setting) -> dict[str, Counts]:
    made = Steps(setting)
    rows = {
        "student step": made.plain(),
        "teacher forward": made.teacher(),
        "teacher forward: timm's own": made.peers_teacher(),
        "links and distance": made.links_alone(),
        "links and distance: all maps in memory": made.links_alone(distance_of_maps),
    }
    for step in rows.values():  # the first step also allocates gradients and optimizer state
        step()
    return {name: count(step) for name, step in rows.items()}
