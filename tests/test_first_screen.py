"""What a user sees first: mistakes once and last, before ranks start; then the training."""

import sys

import pytest
from mmengine.config import Config

from aal_plugin.mm.configs.check import check_numbers
from aal_plugin.mm.configs.files import check_teacher, check_trained
from aal_plugin.mm.launch import mmpretrain_script, read_for_training

from .mm.small import AAL, TEACHER, training
from .test_launch import dump, launch


def test_mistakes_are_told_once_and_before_ranks_start(tmp_path):
    config = training(tmp_path / "run", dict(AAL, teacher=dict(TEACHER, checkpoint="gone.pth")))
    config.train_dataloader.dataset = dict(type="ImageNet", data_root=str(tmp_path / "nowhere"))
    config.optim_wraper = dict()
    text = launch("tools/dist_train.sh", dump(config, tmp_path / "c.py"), 4, ok=False)
    told = text[text.index("train.py: error: 3 mistakes") :].splitlines()
    assert len(told) == 4 and "Traceback" not in text and "NUM_THREADS" not in text
    for words in ("optim_wraper", "(ImageNet, data_root=", "teacher.checkpoint 'gone.pth'"):
        assert text.count(words) == 1, words


def test_the_training_is_on_the_first_screen_and_the_listings_are_in_the_log_file(tmp_path):
    config = training(tmp_path / "run", epochs=1, log_level="INFO")
    adam = dict(type="AdamW", lr=1e-3, weight_decay=0.05)
    config.optim_wrapper = dict(optimizer=adam, paramwise_cfg=dict(norm_decay_mult=0.0))
    text = launch(sys.executable, "tools/train.py", dump(config, tmp_path / "c.py"))
    assert len(text[: text.index("Epoch(train)")].splitlines()) <= 25
    (log,) = (tmp_path / "run").glob("*/*.log")
    assert str(log) in text
    listings = ("System environment:", "Config:", "Hooks will be executed", "paramwise_options")
    for words in listings:
        assert words in log.read_text() and words not in text


def test_a_missing_file_of_a_training_says_which_training(tmp_path):
    gone = str(tmp_path / "run" / "epoch_3.pth")
    words = f"'{gone}': no such file; train it first: aal train t.py --work-dir {tmp_path}/run"
    with pytest.raises(FileNotFoundError, match=f"^teacher.checkpoint {words}$"):
        check_teacher(dict(type="MMTeacher", config="t.py", checkpoint=gone))
    with pytest.raises(FileNotFoundError, match=f"^checkpoint {words}$"):
        check_trained(gone, "t.py")
    with pytest.raises(FileNotFoundError, match="no such file$"):  # of no training of ours
        check_trained(str(tmp_path / "resnet.pth"), "t.py")


@pytest.mark.parametrize(
    ("loader", "words"),
    [
        (dict(batch_size=0), "batch_size=0; choose a whole number, 1 or more"),
        (dict(batch_size="8"), "batch_size='8'; choose a whole number"),
        (dict(num_workers=-1), "num_workers=-1; choose a whole number, 0 or more"),
        (
            dict(persistent_workers=True),
            "persistent_workers=True needs workers, but num_workers",
        ),
        (dict(num_workers=0, prefetch_factor=2), "prefetch_factor=2 needs workers, but num_work"),
    ],
)
def test_numbers_that_make_no_loader_are_told_with_their_key(loader, words):
    check_numbers(Config(dict(a=dict(batch_size=1, num_workers=1, persistent_workers=True))), "a")
    with pytest.raises(ValueError, match=f"^val_dataloader.{words}"):
        check_numbers(Config(dict(val_dataloader=loader)), ("val_dataloader",))


@pytest.mark.parametrize("name", ["max_epochs", "max_iters", "val_interval"])
def test_a_loop_of_no_step_is_told(name):
    check_numbers(Config(dict(train_cfg={name: 1})), ())
    with pytest.raises(ValueError, match=f"^train_cfg.{name}=0; choose a whole number, 1 or more"):
        check_numbers(Config(dict(train_cfg={name: 0})), ())


@pytest.mark.parametrize("given", [None, True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_persistent_workers_are_mmpretrains_default_only_where_there_are_workers(
    tmp_path, monkeypatch, given, workers
):
    (tmp_path / "c.py").write_text("train_dataloader = dict(batch_size=2, num_workers=4)\n")
    words = ["c.py", "--cfg-options", f"train_dataloader.num_workers={workers}"]
    words += [] if given is None else [f"train_dataloader.persistent_workers={given}"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", *words])
    script = mmpretrain_script("train")
    loader = read_for_training(script, script.parse_args()).train_dataloader
    assert loader.persistent_workers == (workers > 0 if given is None else given)
