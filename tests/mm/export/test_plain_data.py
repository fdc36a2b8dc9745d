from mmengine.config import Config

from aal_plugin.mm.export.plain import plain_test_data

LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackInputs")


def data_of(dataset, prefix="test", **others):
    settings = {f"{prefix}_dataloader": dict(batch_size=2, dataset=dataset), **others}
    return plain_test_data(Config(settings))


def test_a_data_set_of_mmpretrains_is_kept_with_its_metrics():
    cub = dict(type="CUB", data_root="d", pipeline=[LOAD, PACK])
    metrics = [dict(type="Accuracy"), dict(type="LocalizationAccuracy")]
    data, notes = data_of(cub, test_evaluator=metrics)
    assert data == dict(
        test_dataloader=dict(batch_size=2, dataset=cub),
        test_evaluator=[dict(type="Accuracy")],
        test_cfg={},
    )
    assert not notes


def test_a_data_set_of_ours_becomes_its_pipeline():
    inner = dict(type="ImageNet", data_root="d", pipeline=[LOAD, dict(type="CropToBox"), PACK])
    subset = dict(type="ClassBalancedSubset", fraction=0.1, dataset=inner)
    data, notes = data_of(subset, "val", val_evaluator=dict(type="Accuracy"))
    plain = dict(type="CustomDataset", pipeline=[LOAD, PACK])
    assert data == dict(test_dataloader=dict(batch_size=2, dataset=plain))
    assert len(notes) == 1 and "transform CropToBox" in notes[0]
    assert plain_test_data(Config({})) == ({}, [])
