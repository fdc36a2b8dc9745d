"""Several tasks, and the ways in which MMPretrain's page loads a config."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer, get_model

from aal_plugin.mm.export import export_student
from tests.mm.small import AAL, training

from .students import build_any, noise_image, saved
from .test_formats import loaded

TASKS = dict(
    type="MultiTaskHead",
    in_channels=16,
    task_heads=dict(
        colour=dict(type="LinearClsHead", num_classes=3),
        kind=dict(
            type="MultiTaskHead", task_heads=dict(a=dict(type="LinearClsHead", num_classes=5))
        ),
    ),
)


def saved_tasks(folder):
    """`saved` for a head whose logits are a dict."""
    config = training(folder / "work", model=dict(AAL, head=TASKS))
    model = build_any(config.model).eval()
    meta = dict(dataset_meta=dict(classes=["a", "b"]))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / "epoch_1.pth")
    images = torch.randn(3, 3, 24, 24, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        logits = model(images)
    return Config(config.to_dict()), str(folder / "epoch_1.pth"), images, logits


def test_a_student_of_several_tasks_has_the_logits_of_each(tmp_path):
    config, checkpoint, images, logits = saved_tasks(tmp_path)
    out = tmp_path / "student.pth"
    export_student(config, checkpoint, str(out))
    with torch.no_grad():
        found = get_model(str(out.with_suffix(".py")), pretrained=str(out)).eval()(images)
    torch.testing.assert_close(found["colour"], logits["colour"], rtol=0, atol=0)
    torch.testing.assert_close(found["kind"]["a"], logits["kind"]["a"], rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"model.head \(MultiTaskHead\) has 2 linear layers"):
        export_student(config, checkpoint, str(tmp_path / "t.pth"), format="timm")


def test_onnx_runtime_gives_the_logits_of_each_task_for_any_batch(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    config, checkpoint, images, logits = saved_tasks(tmp_path)
    out = tmp_path / "student.onnx"
    session = loaded(export_student(config, checkpoint, str(out), format="onnx"))
    assert [output.name for output in session.get_outputs()] == ["colour", "kind.a"]
    for count in (1, 3):  # it was traced with two
        found = session.run(None, {"images": images[:count].numpy()})
        for one, other in zip(found, (logits["colour"], logits["kind"]["a"])):
            np.testing.assert_allclose(one, other[:count].numpy(), rtol=1e-5, atol=1e-5)
    metadata = {prop.key: json.loads(prop.value) for prop in onnx.load(out).metadata_props}
    assert metadata["mean"] == [0.5] * 3 and metadata["classes"] == ["a", "b"]
    assert [path.name for path in tmp_path.glob("*.onnx*")] == ["student.onnx"]


@pytest.mark.parametrize(
    ("given", "pretrained"), [("path", False), ("Config", True), ("Config", None), ("path", "file")]
)
def test_the_config_loads_in_each_documented_way(tmp_path, given, pretrained):
    """`get_model` reads the type of the test data, which are ours (ShapesDataset) here."""
    config, checkpoint, images, logits = saved(tmp_path)
    pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(24, 24))]
    config.val_dataloader.dataset.pipeline = [*pipeline, dict(type="PackInputs")]
    out = tmp_path / "student.pth"
    export_student(config, checkpoint, str(out))
    file = str(out.with_suffix(".py"))
    model = file if given == "path" else Config.fromfile(file)
    weights = str(out) if pretrained == "file" else pretrained
    with pytest.warns(UserWarning) if pretrained is True else nullcontext():
        loaded = get_model(model, pretrained=weights)
        inferencer = ImageClassificationInferencer(model, pretrained=weights)
    assert inferencer(str(noise_image(tmp_path / "a.png")))[0]["pred_scores"].shape == (10,)
    if pretrained == "file":
        with torch.no_grad():
            torch.testing.assert_close(loaded.eval()(images), logits, rtol=0, atol=0)


def test_lora_is_refused(tmp_path):
    lora = dict(type="LoRAModel", module=AAL["backbone"], rank=2, targets=[dict(type=".*qkv")])
    transfer = dict(type="HintHead", pairs=[(1, 1)])
    config, checkpoint, _, _ = saved(
        tmp_path, backbone=lora, link_head=None, transfer_head=transfer
    )
    with pytest.raises(ValueError, match="is a LoRAModel: its checkpoint has only what LoRA adds"):
        export_student(config, checkpoint, str(tmp_path / "s.pth"))
