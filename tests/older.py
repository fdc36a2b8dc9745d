"""Which tests the older releases of `tools/stacks.py` cannot pass, and why: skipped there alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch

TORCH = tuple(map(int, torch.__version__.split(".")[:2]))
TIMM = tuple(map(int, timm.__version__.split(".")[:3]))
# Of each part of a test's id: what torch before 2.6 or timm before 1.0.27 lacks.
OF_TORCH = {
    "compiled": "torch.compile needs torch 2.6",
    "test_it_compiles_whole": "torch.compile needs torch 2.6",
    "float16": "torch computes no float16 on CPUs",
    "test_distance_is_the_papers_and_the_output_is_the_students": "no generator in nn.init",
    "test_importing_the_plugin_changes_nothing": "torch has no allow-list to compare",
    "test_loading_leaves_torchs_list": "torch has no allow-list to compare",
    "checkpoint_wrapper": "torch's wrapper warns of its own default",
    "no_framework_and_warns_of_nothing[core]": "einops warns beside torch 2.1",
}
OF_TIMM = {
    "gradient_checkpointing": "timm leaves use_reentrant open",
    "test_another_image_size_than_that_of_training": "timm's own embedding fails",
    "test_grids_follow_the_images": "timm's own embedding fails",
    "convit": "timm's ConViT is float32",
    "test_swin_v2_maps": "timm's Swin v2 takes no map that needs padding",
    "swinv2_cr": "timm's Swin v2 takes no map that needs padding",
    "papers_link_counts": "timm builds no model without memory",
    "maxvit": "timm's model does not say its image size",
    "maxxvit": "timm's model does not say its image size",
    "coatnet": "timm's model does not say its image size",
    "eva": "timm's EVA has no norms of queries and keys",
    "as_timm_extracts_them": "timm extracts fewer models",
    "channels_last_are_those_of_timms_own_extraction": "timm extracts fewer models",
    "swin_tiny_patch4_window7_224-settings1": "timm's Swin takes one size",
    "tests/timm": "no train.py of tasks that train links",
}


def mark(items: list[pytest.Item]) -> None:
    """Skip what these releases cannot do."""
    limits = (OF_TORCH if TORCH < (2, 6) else {}) | (OF_TIMM if TIMM < (1, 0, 27) else {})
    for item in items:
        for part, reason in limits.items():
            if part in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=reason))


def skipping_unknown(create: Callable[..., Any]) -> Callable[..., Any]:
    """`timm.create_model` that skips the test of a model that this timm does not have."""

    @functools.wraps(create)
    def created(*args: Any, **options: Any) -> Any:
        try:
            return create(*args, **options)
        except RuntimeError as error:
            if "Unknown model" in str(error):
                pytest.skip(str(error))
            raise

    return created


if TIMM < (1, 0, 27):
    timm.create_model = skipping_unknown(timm.create_model)
