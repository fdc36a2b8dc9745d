"""The same small configs as text (`type="PackInputs"`) and as MMEngine's pure-Python kind."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from aal_plugin.mm.configs.check import check_config
from aal_plugin.mm.configs.files import check_data
from aal_plugin.mm.configs.reading import read_config
from aal_plugin.mm.configs.registered import with_names
from aal_plugin.mm.configs.types import hooks_of, type_name
from aal_plugin.mm.datasets.own_folder import fill_in_own_folder
from aal_plugin.mm.dry_run import dry_run
from aal_plugin.mm.evaluation.attention_maps import AttentionReader
from aal_plugin.mm.export import export_student
from aal_plugin.mm.runs.protection import protected
from tests.mm.pure_python import pure_python
from tests.mm.small import training

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["text", "pure Python"])
def written(request, tmp_path):
    """Writes a config in one of the styles and reads it."""

    def write(config, name="config.py"):
        path = tmp_path / name
        if request.param == "text":
            config.dump(str(path))
        else:
            pure_python(config, path)
            assert "type': ShapesDataset" in path.read_text() or "CustomDataset" in path.read_text()
        return read_config(path)

    return write


def whole(work_dir, **changes):
    config = training(work_dir, epochs=1, **changes)
    config.update(
        test_dataloader=config.val_dataloader, test_evaluator=config.val_evaluator, test_cfg=dict()
    )
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1)
    return config


def test_it_trains_tests_exports_and_is_drawn(written, tmp_path):
    config = written(whole(tmp_path / "work"))
    config.launcher = "none"
    check_config(config)
    protected(config)
    names = [type_name(hook) for _, hook in hooks_of(config)]
    assert {"SafeCheckpointHook", "FiniteLossHook", "FitCheckHook", "ExactResumeHook"} <= set(names)
    assert "CheckpointHook" not in names
    assert type_name(config.train_cfg) == "ResumableEpochLoop"
    Runner.from_cfg(config).train()
    checkpoint = str(tmp_path / "work" / "epoch_1.pth")
    trained = written(whole(tmp_path / "tested"))
    trained.load_from = checkpoint
    assert 0 <= Runner.from_cfg(trained).test()["accuracy/top1"] <= 100

    export_student(trained, checkpoint, str(tmp_path / "student.pth"))
    text = (tmp_path / "student.py").read_text()
    assert "aal_plugin" not in text and "type='VisionTransformer'" in text
    # As a file, not a Config: tools/analysis/show_attention.py gives its path.
    reader = AttentionReader(str(tmp_path / "config.py"), checkpoint)
    (shown,) = reader.dataset(1)
    assert shown.box is not None and shown.augmented is not None
    assert len(list(reader.files([save_image(tmp_path / "a.png")]))) == 1


def save_image(path):
    from PIL import Image

    Image.new("RGB", (24, 24), (200, 30, 90)).save(path)
    return path


def test_a_dry_run_describes_it(written, tmp_path):
    tried = dry_run(written(whole(tmp_path / "work")), 10.0)
    assert not tried.missing
    assert any(
        line.startswith("λ") and "link_head: 2000 at epoch 0" in line for line in tried.lines
    )


def test_mistakes_are_reported(written, tmp_path):
    config = whole(tmp_path / "work")
    config.model.link_head.lossweight = -1.0
    config.model.teacher.layes = ["layer1"]
    config.custom_hooks[0].gamas = 0.5
    with pytest.raises(ValueError) as error:
        check_config(written(config))
    lines = str(error.value).splitlines()
    assert lines[0] == "3 mistakes"
    for words in ("did you mean 'loss_weight'?", "model.teacher.layes: ", "did you mean 'gammas'?"):
        assert sum(words in line for line in lines) == 1


def test_missing_data_are_reported(written, tmp_path):
    config = whole(tmp_path / "work")
    inner = dict(
        type="CustomDataset",
        data_root=str(tmp_path / "nowhere"),
        pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
    )
    config.train_dataloader.dataset = dict(type="ClassBalancedSubset", fraction=0.5, dataset=inner)
    with pytest.raises(
        FileNotFoundError, match=r"train_dataloader.dataset.dataset \(CustomDataset"
    ):
        check_data(written(config), ("train_dataloader", "val_dataloader"))


def test_a_subset_is_built(written, tmp_path):
    config = whole(tmp_path / "work")
    config.train_dataloader.dataset = dict(
        type="ClassBalancedSubset", fraction=0.5, dataset=config.train_dataloader.dataset
    )
    runner = Runner.from_cfg(written(config))
    assert len(runner.build_dataloader(runner._train_dataloader).dataset) == 20


def test_an_own_folder_is_filled_in(written, tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            save_image(folder / "1.png")
    config = Config.fromfile(ROOT / "configs" / "folder" / "aal_deit-s_folder.py")
    config.merge_from_dict(dict(data_root=str(tmp_path / "images"), epochs=30, batch_size=2))
    filled = written(config)
    fill_in_own_folder(filled)
    assert filled.model.head.num_classes == 2 and filled.train_cfg.max_epochs == 30
    assert filled.train_dataloader.dataset.metainfo.classes == ["cat", "dog"]
    expected = Config(config.to_dict())
    fill_in_own_folder(expected)
    for key in ("train_dataloader", "default_hooks", "param_scheduler", "model"):
        assert with_names(filled[key]) == with_names(expected[key])


def test_names_of_classes_are_those_of_the_registries():
    from mmengine.hooks import EMAHook
    from mmengine.model.weight_init import PretrainedInit

    config = dict(a=[dict(type=EMAHook)], b=dict(type=PretrainedInit, type_=1), c=Path)
    assert with_names(config) == dict(
        a=[dict(type="EMAHook")], b=dict(type="Pretrained", type_=1), c="pathlib.Path"
    )
    assert with_names(dict(type="a.lab.of.its.own.Hook")) == dict(type="a.lab.of.its.own.Hook")
