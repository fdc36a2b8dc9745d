"""What is told before the first step, that training would find out later, or never."""

import json

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image

from aal_plugin.mm.hooks.fit_check_hook import check_fit, check_labels
from tests.mm.small import AAL, PLAIN, build, training

HEAD = dict(type="MultiLabelLinearClsHead", num_classes=10, in_channels=16)
PIPELINE = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]


def images(folder, labels, kind="MultiLabelDataset", **others):
    """The config of a data set of noise images with these labels in its annotation file."""
    folder.mkdir(exist_ok=True)
    listed = []
    for number, label in enumerate(labels):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        listed.append(dict(img_path=f"{number}.png", gt_label=label))
    (folder / "labels.json").write_text(json.dumps(dict(metainfo={}, data_list=listed)))
    return dict(
        type=kind, data_root=str(folder), ann_file="labels.json", pipeline=PIPELINE, **others
    )


def of_data(folder, dataset, **changes):
    """A checked run of one epoch on a data set, which also validates on it."""
    config = training(folder / "work", epochs=1, **changes)
    config.train_dataloader.batch_size = 4
    config.train_dataloader.dataset = config.val_dataloader.dataset = dataset
    config.default_hooks.fit = dict(type="FitCheckHook")
    return config


def told(config, words, folder):
    """Training ends with these words before its first step."""
    with pytest.raises(ValueError, match=words):
        Runner.from_cfg(config).train()
    assert not list(folder.rglob("*.pth")) and not any(
        file.read_text() for file in folder.rglob("scalars.json")
    )


SEVERAL = [[0, 1], [2], [3, 4, 9], [], [5], [6, 7], [8], [0]]


def test_multi_label_data_train_as_they_do_without_this_hook(tmp_path):
    """Lists of other lengths are no array; the run with the hook ends with the same weights."""
    weights = []
    for name in ("checked", "plain"):
        dataset = images(tmp_path / "data", SEVERAL)
        config = of_data(tmp_path / name, dataset, model=dict(AAL, head=HEAD))
        config.val_evaluator = dict(type="AveragePrecision")
        if name == "plain":
            config.default_hooks.pop("fit")
        runner = Runner.from_cfg(config)
        runner.train()
        weights.append(runner.model.state_dict())
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    assert not torch.equal(weights[0]["head.fc.weight"], torch.zeros(10, 16))


@pytest.mark.parametrize(
    ("labels", "kind", "head", "words", "wrapper"),
    [
        ([[0], [2, 10]], "MultiLabelDataset", HEAD, "the label 10 .image number 1.*0 to 9", None),
        ([0, 1, 11], "BaseDataset", AAL["head"], "the label 11 .image number 2", "RepeatDataset"),
        ([0, -1, 2], "BaseDataset", AAL["head"], "the label -1 .image number 1", "ConcatDataset"),
    ],
)
def test_labels_outside_the_classes_that_a_config_names(
    tmp_path, labels, kind, head, words, wrapper
):
    dataset = images(tmp_path / "data", labels * 2, kind, classes=list("abcdefghij"))
    if wrapper == "RepeatDataset":
        dataset = dict(type=wrapper, times=2, dataset=dataset)
    if wrapper == "ConcatDataset":
        dataset = dict(type=wrapper, datasets=[dataset, dataset])
    told(of_data(tmp_path, dataset, model=dict(AAL, head=head)), words, tmp_path)


def test_labels_of_the_validation_set_are_told_before_the_epoch(tmp_path):
    config = of_data(tmp_path, images(tmp_path / "data", [0, 1, 2, 3], "BaseDataset"))
    config.val_dataloader.dataset = images(tmp_path / "val", [0, 12], "BaseDataset")
    told(config, r"val_dataloader.dataset \(BaseDataset\) has the label 12", tmp_path)


def test_torch_leaves_out_the_label_minus_100(tmp_path):
    dataset = images(tmp_path / "data", [0, -100, 2, 3], "BaseDataset", classes=list("abcdefghij"))
    config = of_data(tmp_path, dataset)
    Runner.from_cfg(config).train()


def test_a_subset_of_multi_label_data_says_so_before_training(tmp_path):
    dataset = images(tmp_path / "data", [[0]] * 12 + SEVERAL)
    dataset = dict(type="ClassBalancedSubset", fraction=0.5, dataset=dataset)
    config = of_data(tmp_path, dataset, model=dict(AAL, head=HEAD))
    config.val_evaluator = dict(type="AveragePrecision")
    words = r"ClassBalancedSubset needs one label per image.* has the labels \[0, 1\]"
    told(config, words, tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(train_dataloader=dict(batch_size=64, drop_last=True)), "choose a batch_size of 40"),
        (dict(val_dataloader=dict(batch_size=64, drop_last=True)), "val_dataloader has no batch"),
        (
            dict(default_hooks=dict(checkpoint=dict(type="CheckpointHook", save_best="acc"))),
            r"save_best='acc': .* choose one of \['accuracy/top1', 'auto'\]",
        ),
        (
            dict(default_hooks=dict(stop=dict(type="EarlyStoppingHook", monitor="accuracy/top5"))),
            "EarlyStoppingHook.monitor='accuracy/top5': val_evaluator does not measure it",
        ),
        (dict(val_evaluator=dict(topk=(1, 11))), "Top-11 accuracy is unavailable"),
        (
            dict(default_hooks=dict(aal=dict(type="LambdaDecayHook", gammas=1.0, start_epoch=3))),
            "start_epoch=3: .* the run ends after 3 epochs",
        ),
    ],
)
def test_settings_that_would_fail_later_or_do_nothing(tmp_path, changes, words):
    config = training(tmp_path, epochs=3, custom_hooks=[])
    config.default_hooks.fit = dict(type="FitCheckHook")
    config.merge_from_dict(changes)
    told(config, words, tmp_path)


def test_save_best_without_validation_is_told(tmp_path):
    config = training(tmp_path, val_dataloader=None, val_cfg=None, val_evaluator=None)
    best = dict(type="CheckpointHook", save_best="auto")
    config.default_hooks.update(fit=dict(type="FitCheckHook"), checkpoint=best)
    told(config, "save_best='auto' needs validation, and the run has none", tmp_path)


class Counted:
    """A lab's metric: it needs the batch, and only it knows its name."""

    def __init__(self, prefix):
        from mmengine.evaluator import BaseMetric

        class Metric(BaseMetric):
            def process(self, data_batch, data_samples):
                self.results += [len(data_batch["inputs"])]

            def compute_metrics(self, results):
                return dict(seen=sum(results))

        self.metric = Metric(prefix=prefix)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("accuracy/top1", dict(type="Accuracy", topk=(1,))),
        ("accuracy/top2_thr-0.50", dict(type="Accuracy", topk=(1, 2), thrs=(0.5, 0.7))),
        ("single-label/f1-score", dict(type="SingleLabelMetric")),
        ("lab/seen", Counted("lab").metric),
        ("seen", Counted(None).metric),
    ],
)
def test_every_name_that_validation_measures_is_allowed(tmp_path, name, metric):
    config = training(tmp_path, epochs=1)
    best = dict(type="CheckpointHook", save_best=name, rule="greater")
    config.default_hooks.update(fit=dict(type="FitCheckHook"), checkpoint=best)
    config.val_evaluator = metric if isinstance(metric, dict) else None
    runner = Runner.from_cfg(config) if isinstance(metric, dict) else with_metric(config, metric)
    runner.train()
    assert list(tmp_path.glob("best_*.pth"))


def with_metric(config, metric):
    from mmengine.evaluator import Evaluator

    config.val_evaluator = dict(type="Accuracy")
    runner = Runner.from_cfg(config)
    runner._val_evaluator = Evaluator(metric)
    return runner


def test_a_lab_metrics_prefix_is_known_where_its_names_are_not(tmp_path):
    config = training(tmp_path, epochs=1)
    best = dict(type="CheckpointHook", save_best="acc", rule="greater")
    config.default_hooks.update(fit=dict(type="FitCheckHook"), checkpoint=best)
    with pytest.raises(ValueError, match="save_best='acc': val_evaluator does not measure it"):
        with_metric(config, Counted("lab").metric).train()


def test_weights_of_another_model_are_refused_and_a_head_for_other_classes_is_not():
    model, plain = build(AAL), build(PLAIN)
    check_fit(model, plain.state_dict(), "load_from", all_of_them=True)  # an exported student
    wider = dict(PLAIN["head"], num_classes=7)
    tuned = build(dict(PLAIN, head=wider))
    check_fit(tuned, plain.state_dict(), "load_from")
    with pytest.raises(ValueError, match=r"2 of \d+ weights do not fit; head.layers.head.weight"):
        check_fit(tuned, plain.state_dict(), "load_from", all_of_them=True)
    larger = build(dict(PLAIN, backbone=dict(PLAIN["backbone"], img_size=48)))
    check_fit(larger, plain.state_dict(), "load_from", all_of_them=True)  # position embedding
    with pytest.raises(ValueError, match="a='b' is a checkpoint of another model: .* missing"):
        check_fit(plain, {"x": torch.zeros(1)}, "a='b'")


def test_more_classes_than_the_head_has_are_told_before_the_first_step(tmp_path):
    config = training(tmp_path)
    config.model.head.num_classes = 9
    config.default_hooks.fit = dict(type="FitCheckHook")
    told(config, r"train_dataloader.dataset \(ShapesDataset\) has 10 classes, but", tmp_path)


def test_as_many_classes_as_the_head_has_are_right():
    class Named:
        metainfo = dict(classes=tuple("abcdefghij"))

    check_labels("val_dataloader", Named(), build(PLAIN))
    Named.metainfo = dict(classes=tuple("abcdefghijk"))
    with pytest.raises(ValueError, match=r"val_dataloader.dataset \(Named\) has 11 classes"):
        check_labels("val_dataloader", Named(), build(PLAIN))


def test_labels_are_read_where_a_data_set_names_no_classes():
    class Labels(list):
        def get_data_info(self, index):
            return dict(gt_label=np.array(self[index]))

    with pytest.raises(ValueError, match="has the label 11 .image number 2"):
        check_labels("val_dataloader", Labels([0, 3, 11]), build(PLAIN))
