"""The test data of an exported config, with MMPretrain's parts only."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from aal_plugin.mm.configs.check import ours
from aal_plugin.mm.configs.registered import with_names
from aal_plugin.mm.configs.types import type_name

# Our parts that equal one of MMPretrain's if the data have no boxes.
_PLAIN = {"CUBWithBoxes": "CUB", "ResizeEdgeWithBoxes": "ResizeEdge"}
_OWN_ARGUMENTS = ("allow_outside",)


def plain_test_data(config: Config) -> tuple[dict[str, Any], list[str]]:
    """The test keys of a config, or its validation keys under their names.

    A data set that only this package provides is reduced to its pipeline, which is all that
    MMPretrain's inferencer needs.

    Returns:
        `test_dataloader` and, if MMPretrain can run the test, `test_evaluator` and `test_cfg`; and
        a note for each transform that is left out.
    """
    source = "test" if config.get("test_dataloader") else "val"
    if not config.get(f"{source}_dataloader"):
        return {}, []
    loader = with_names(config[f"{source}_dataloader"])
    notes: list[str] = []
    dataset = _plain_dataset(loader["dataset"], notes)
    data: dict[str, Any] = dict(test_dataloader=dict(loader, dataset=dataset))
    evaluator = with_names(config.get(f"{source}_evaluator") or [])
    metrics = [evaluator] if isinstance(evaluator, dict) else list(evaluator)
    metrics = [metric for metric in metrics if type_name(metric) not in ours()]
    if metrics and type_name(dataset):
        data.update(test_evaluator=metrics, test_cfg={})
    return data, notes


def _plain_dataset(dataset: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    name = type_name(dataset)
    if name in ours() and name not in _PLAIN:
        while "dataset" in dataset:
            dataset = dataset["dataset"]
        return dict(pipeline=_plain_pipeline(dataset.get("pipeline", []), notes))
    plain = {key: value for key, value in dataset.items() if key not in _OWN_ARGUMENTS}
    if name in _PLAIN:
        plain["type"] = _PLAIN[name]
    if "dataset" in plain:
        plain["dataset"] = _plain_dataset(plain["dataset"], notes)
    if "pipeline" in plain:
        plain["pipeline"] = _plain_pipeline(plain["pipeline"], notes)
    return plain


def _plain_pipeline(pipeline: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    plain = []
    for step in pipeline:
        name = type_name(step)
        if name in _PLAIN:
            step = dict(step, type=_PLAIN[name])
        elif name == "PackInputs":
            step = {key: value for key, value in step.items() if key != "algorithm_keys"}
        elif name in ours():
            notes.append(
                f"only aal_plugin provides the transform {name}, so the exported test pipeline "
                "does not have it; apply it to the images yourself"
            )
            continue
        plain.append(step)
    return plain
