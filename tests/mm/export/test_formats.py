import json

import pytest
import timm
import torch
from safetensors.torch import load_file

from aal_plugin.mm.export import export_student

from .students import saved

CLOSE = dict(rtol=1e-5, atol=1e-5)


@torch.no_grad()
def logits_of(model, images):
    return model.eval()(images)


def command(notes):
    """The call that a note tells a reader to make."""
    (note,) = [note for note in notes if note.startswith("load it with ")]
    return note.removeprefix("load it with ").split(", or upload")[0]


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["vit", "timm", "distilled"])
def test_timm_loads_it_by_the_call_that_the_note_shows(tmp_path, name, ending):
    config, checkpoint, images, logits = saved(tmp_path, name)
    out = tmp_path / f"student{ending}"
    exported = export_student(config, checkpoint, str(out), format="timm")
    assert exported.files == [out]
    model = eval(command(exported.notes), dict(timm=timm))
    torch.testing.assert_close(logits_of(model, images), logits, **CLOSE)


@pytest.mark.parametrize("name", ["vit", "timm", "distilled"])
def test_a_folder_for_the_hub_needs_no_arguments(tmp_path, name):
    config, checkpoint, images, logits = saved(tmp_path, name)
    config.val_dataloader.dataset.pipeline = [
        dict(type="ResizeEdge", scale=40, interpolation="bicubic"),
        dict(type="CenterCrop", crop_size=32),
        dict(type="PackInputs"),
    ]
    exported = export_student(config, checkpoint, str(tmp_path / "hub"), format="hub")
    assert {path.name for path in exported.files} == {"config.json", "model.safetensors"}
    model = eval(command(exported.notes), dict(timm=timm))
    torch.testing.assert_close(logits_of(model, images), logits, **CLOSE)
    settings = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert settings["label_names"][9] == "class 9" and settings["num_classes"] == 10
    data = timm.data.resolve_model_data_config(model)
    assert list(data["mean"]) == [0.5] * 3 and data["crop_pct"] == 0.8
    assert data["std"] == pytest.approx([64 / 255] * 3, abs=1e-5)
    assert tuple(data["input_size"]) == (3, *images.shape[-2:])


def test_safetensors_hold_the_plain_students_weights(tmp_path):
    config, checkpoint, _, _ = saved(tmp_path)
    out = tmp_path / "student.safetensors"
    export_student(config, checkpoint, str(out), format="safetensors")
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    plain = {key: value for key, value in weights.items() if not key.startswith("link_head.")}
    torch.testing.assert_close(load_file(out), dict(plain), rtol=0, atol=0)
    assert len(plain) < len(weights) and out.with_suffix(".py").is_file()


@pytest.mark.parametrize("name", ["vit", "timm"])
def test_onnx_runtime_gives_the_same_logits_for_any_batch(tmp_path, name):
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    config, checkpoint, images, logits = saved(tmp_path, name)
    out = tmp_path / "student.onnx"
    export_student(config, checkpoint, str(out), format="onnx")
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    for count in (1, 3):  # it was traced with two
        (found,) = session.run(None, {"images": images[:count].numpy()})
        torch.testing.assert_close(torch.from_numpy(found), logits[:count], **CLOSE)
    metadata = {prop.key: json.loads(prop.value) for prop in onnx.load(out).metadata_props}
    assert metadata["mean"] == [0.5] * 3 and metadata["classes"][9] == "class 9"
    assert [path.name for path in tmp_path.glob("*.onnx*")] == ["student.onnx"]


def test_formats_that_cannot_express_a_student_say_so_and_write_nothing(tmp_path):
    config, checkpoint, _, _ = saved(tmp_path)
    out = tmp_path / "student.pth"
    with pytest.raises(ValueError, match="--format='torch'; choose one of .*'mmpretrain'"):
        export_student(config, checkpoint, str(out), format="torch")
    config, checkpoint, _, _ = saved(
        tmp_path,
        head=dict(type="VisionTransformerClsHead", num_classes=10, in_channels=16, hidden_dim=8),
    )
    with pytest.raises(ValueError, match=r"model.head \(VisionTransformerClsHead\) has 2 linear"):
        export_student(config, checkpoint, str(out), format="timm")
    arch = dict(config.model.backbone, layer_scale_init_value=0.1)
    config, checkpoint, _, _ = saved(tmp_path, backbone=arch)
    with pytest.raises(
        ValueError, match="VisionTransformer.* differs from timm's 'deit_small_patch"
    ):
        export_student(config, checkpoint, str(out), format="timm")
    backbone = dict(type="ResNet", depth=18)
    head = dict(type="LinearClsHead", num_classes=10, in_channels=512)
    transfer = dict(type="ActivationTransferHead", pairs=[(4, 4)])
    neck = dict(type="GlobalAveragePooling")
    model = dict(backbone=backbone, head=head, neck=neck, link_head=None, transfer_head=transfer)
    config, checkpoint, _, _ = saved(tmp_path, **model)
    with pytest.raises(ValueError, match="backbone.type='ResNet' has no equal in timm; choose one"):
        export_student(config, checkpoint, str(out), format="timm")
    assert not out.exists()


def test_other_logits_are_an_error(tmp_path, monkeypatch):
    from aal_plugin.mm.export import timm_student

    config, checkpoint, _, _ = saved(tmp_path)
    monkeypatch.setattr(
        timm_student, "_VIT_NAMES", timm_student._VIT_NAMES[:1] + timm_student._VIT_NAMES[2:]
    )
    with pytest.raises(ValueError, match="differs from timm's"):
        export_student(config, checkpoint, str(tmp_path / "s.pth"), format="timm")
    monkeypatch.undo()
    real = timm_student.load_strictly

    def other(model, weights, name):
        real(model, weights, name)
        torch.nn.init.ones_(model.norm.bias)
        return model

    monkeypatch.setattr(timm_student, "load_strictly", other)
    with pytest.raises(ValueError, match="the logits of the student and of timm's .* differ by"):
        export_student(config, checkpoint, str(tmp_path / "s.pth"), format="timm")
