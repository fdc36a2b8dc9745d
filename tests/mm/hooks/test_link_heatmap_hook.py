import numpy as np
import pytest
from mmengine.runner import Runner

from aal_plugin.analysis import link_growth
from aal_plugin.analysis.saved_links import link_history, read_links
from tests.mm.small import PLAIN, training


def train(work_dir, *args, interval=1, **changes):
    config = training(work_dir, *args, **changes)
    config.custom_hooks.append(dict(type="LinkHeatmapHook", interval=interval))
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def images(work_dir):
    files = work_dir.glob("*/vis_data/vis_image/links_*.png")
    return sorted(int(path.stem.split("_")[1]) for path in files)


def test_heatmaps_go_to_the_visual_back_end_with_their_epoch(tmp_path):
    train(tmp_path, epochs=5, interval=2)
    assert images(tmp_path) == [0, 2, 4, 5]


def test_numbers_of_each_epoch_are_those_of_its_checkpoint(tmp_path):
    train(tmp_path, epochs=3)
    records = link_history(tmp_path).by_epoch
    assert sorted(records) == [0, 1, 2, 3]
    for epoch in (1, 2, 3):
        saved = link_growth(*read_links(str(tmp_path / f"epoch_{epoch}.pth")))
        np.testing.assert_allclose(records[epoch], saved, atol=2e-5)
    assert not np.allclose(records[0], records[3], atol=1e-4)


def test_resumed_run_goes_on_where_it_was(tmp_path):
    train(tmp_path, epochs=2)
    train(tmp_path, epochs=4, resume=True)
    assert sorted(link_history(tmp_path).by_epoch) == [0, 1, 2, 3, 4]
    assert images(tmp_path) == [0, 1, 2, 3, 4]


def test_model_without_links_and_bad_interval_are_told(tmp_path):
    with pytest.raises(ValueError, match="LinkHeatmapHook needs a link head, but ImageClassifier"):
        train(tmp_path, PLAIN)
    with pytest.raises(ValueError, match="interval=0; choose a whole number, 1 or more"):
        train(tmp_path, interval=0)
