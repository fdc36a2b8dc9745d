"""Ranks as a lab has them: eight, of two machines, one with a bad image, sharded."""

import json
import subprocess

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from aal_plugin.mm.configs.check import check_config
from aal_plugin.mm.runs.protection import protected
from tools.torchrun import end

from .mm.small import training
from .test_launch import ROOT, dump, environment, launch, load


def config(folder, batch, images=40, **changes):
    """SGD, whose step is the gradient itself, on images in their order."""
    cfg = training(folder, epochs=2, images=images, **changes)
    cfg.train_dataloader.sampler.shuffle = False
    cfg.train_dataloader.batch_size = batch
    cfg.optim_wrapper.optimizer = dict(type="SGD", lr=0.01)
    cfg.train_cfg.val_interval = 100
    return cfg


def ends(folder):
    return load(folder / "epoch_2.pth")["state_dict"]


def assert_same(one, other):
    torch.testing.assert_close(ends(one), ends(other), rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    """The work dir of one rank that has the whole batch of 40."""
    folder = tmp_path_factory.mktemp("one")
    Runner.from_cfg(protected(config(folder / "run", 40))).train()
    return folder / "run"


@pytest.mark.slow
def test_eight_ranks_end_as_one(tmp_path, one_rank):
    path = dump(config(tmp_path / "run", 5), tmp_path / "eight.py")
    launch("tools/dist_train.sh", path, 8)
    assert_same(tmp_path / "run", one_rank)


def test_two_machines_end_as_one(tmp_path, one_rank):
    """NNODES=2: two launchers that meet at one port of the loopback."""
    path = dump(config(tmp_path / "run", 20), tmp_path / "nodes.py")
    shared = dict(environment(), NNODES="2", MASTER_ADDR="127.0.0.1")
    nodes = [
        subprocess.Popen(
            ["tools/dist_train.sh", str(path), "1"],
            cwd=ROOT,
            env=dict(shared, NODE_RANK=str(number)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    texts = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], texts[0][-2000:] + texts[1][-2000:]
    assert_same(tmp_path / "run", one_rank)


def test_ranks_with_other_numbers_of_batches_are_told_before_the_first_step(tmp_path):
    cfg = config(tmp_path / "run", 10, images=41)
    cfg.train_dataloader.sampler.round_up = False  # 21 and 20 images: three batches and two
    text = launch("tools/dist_train.sh", dump(cfg, tmp_path / "c.py"), 2, ok=False)
    assert "different numbers of batches, [3, 2]" in text and "sampler.round_up=True" in text
    assert "Traceback" not in text and text.count("different numbers") == 1
    assert text.splitlines()[-1].startswith("train.py: error (rank ")


def test_a_bad_image_is_named_with_its_rank_and_ends_the_others(tmp_path):
    for number in range(20):
        folder = tmp_path / "images" / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.full((24, 24, 3), 12 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    bad = tmp_path / "images" / "class1" / "11.png"  # the fourth of twenty: the second rank's
    bad.write_bytes(b"no image")
    cfg = config(tmp_path / "run", 5)
    cfg.train_dataloader.dataset = dict(
        type="CustomDataset",
        data_prefix=str(tmp_path / "images"),
        pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
    )
    text = launch("tools/dist_train.sh", dump(cfg, tmp_path / "c.py"), 2, ok=False)
    last = text.splitlines()[-1]
    assert last.startswith(f"train.py: error (rank 1): image {bad} failed to load"), text[-3000:]
    assert not list((tmp_path / "run").glob("*.pth"))


def test_a_rank_that_failed_in_words_is_the_cause_of_one_that_crashed_before_it(tmp_path, capsys):
    """The other rank loses its connection within the same second, and may be noticed first."""
    told = dict(message="train.py: error (rank 1): a bad image", extraInfo=dict(timestamp=2**33))
    (tmp_path / "1.json").write_text(json.dumps(dict(message=told)))
    failures = {
        rank: ProcessFailure(rank, 100 + rank, exitcode, str(tmp_path / f"{rank}.json"))
        for rank, exitcode in ((0, 1), (1, 2))
    }
    with pytest.raises(SystemExit) as stop:
        end(ChildFailedError("train.py", failures))
    assert stop.value.code == 2
    assert capsys.readouterr().err == "train.py: error (rank 1): a bad image\n"


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path, one_rank, ranks):
    """Two epochs, the second with two ranks in the place of one, or one in the place of two."""
    for number in (3 - ranks, ranks):
        cfg = config(tmp_path / "run", 40 // number)
        cfg.train_cfg.max_epochs = 1 if number != ranks else 2
        cfg.log_level = "INFO"
        if number == 1 and ranks == 2:
            Runner.from_cfg(protected(cfg)).train()
        else:
            path = dump(cfg, tmp_path / f"{number}.py")
            text = launch("tools/dist_train.sh", path, number, "--resume")
    assert f"saved with {3 - ranks} ranks, but this run has {ranks}" in text
    assert load(tmp_path / "run" / "epoch_2.pth")["meta"]["epoch"] == 2
    assert_same(tmp_path / "run", one_rank)


def sharded(folder, epochs):
    """FSDP by MMEngine's FlexibleRunner; SGD with momentum, so that the optimizer has a state."""
    cfg = config(folder, 20)
    cfg.optim_wrapper.optimizer = dict(type="SGD", lr=0.01, momentum=0.9)
    cfg.train_cfg.max_epochs = epochs
    cfg.runner_type = "FlexibleRunner"
    cfg.env_cfg = dict(dist_cfg=dict(backend="gloo"))
    wrapper = dict(use_orig_params=True, device_id="cpu")
    cfg.strategy = dict(type="FSDPStrategy", model_wrapper=wrapper)
    return cfg


@pytest.mark.slow
def test_a_sharded_run_is_resumed_as_it_was(tmp_path):
    """Adam's two moments are left out: torch's gather of them on a CPU gives the second twice."""
    for name, epochs in (("whole", (2,)), ("broken", (1, 2))):
        for last in epochs:
            path = dump(sharded(tmp_path / name, last), tmp_path / f"{name}{last}.py")
            launch("tools/dist_train.sh", path, 2, "--resume")
    assert load(tmp_path / "broken" / "epoch_2.pth")["meta"]["epoch"] == 2
    assert_same(tmp_path / "broken", tmp_path / "whole")
    weights = load(tmp_path / "broken" / "epoch_1.pth")["state_dict"]
    assert not torch.equal(weights["head.layers.head.weight"], ends(tmp_path / "broken")[
        "head.layers.head.weight"
    ])  # fmt: skip


def test_shards_that_nobody_could_resume_from_are_told_before_training(tmp_path):
    cfg = sharded(tmp_path / "run", 1)
    cfg.strategy.state_dict_cfg = "local"
    with pytest.raises(ValueError, match="^strategy.state_dict_cfg='local' saves shards"):
        check_config(cfg)
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "folder.pth" / "rank0.pth").touch()
    with pytest.raises(ValueError, match="folder.pth' is a folder of FSDP shards"):
        load(tmp_path / "folder.pth")
