import json

import pytest
import timm
import torch
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from mmpretrain.registry import MODELS

from aal_plugin.mm.export import export_student

from .students import saved

CLOSE = dict(rtol=1e-5, atol=1e-5)


@torch.no_grad()
def logits_of(model, images):
    return model.eval()(images)


def loaded(exported, **names):
    """What the line of Python that an export prints leaves in `model` or `session`."""
    exec(exported.load, names)
    return names.get("model") or names["session"]


@pytest.mark.parametrize(
    ("name", "ending"), [("vit", ".pth"), ("timm", ".safetensors"), ("distilled", ".pth")]
)
def test_timm_loads_it_by_the_line_that_is_printed(tmp_path, name, ending):
    config, checkpoint, images, logits = saved(tmp_path, name)
    out = tmp_path / f"student{ending}"
    exported = export_student(config, checkpoint, str(out), format="timm")
    assert exported.files == [out]
    model = loaded(exported)
    torch.testing.assert_close(logits_of(model, images), logits, **CLOSE)


@pytest.mark.parametrize("name", ["timm", "distilled"])
def test_a_folder_for_the_hub_needs_no_arguments(tmp_path, name):
    config, checkpoint, images, logits = saved(tmp_path, name)
    config.val_dataloader.dataset.pipeline = [
        dict(type="ResizeEdge", scale=40, interpolation="bicubic"),
        dict(type="CenterCrop", crop_size=32),
        dict(type="PackInputs"),
    ]
    exported = export_student(config, checkpoint, str(tmp_path / "hub"), format="hub")
    assert {path.name for path in exported.files} == {"config.json", "model.safetensors"}
    model = loaded(exported)
    torch.testing.assert_close(logits_of(model, images), logits, **CLOSE)
    settings = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert settings["label_names"][9] == "class 9" and settings["num_classes"] == 10
    data = timm.data.resolve_model_data_config(model)
    assert list(data["mean"]) == [0.5] * 3 and data["crop_pct"] == 0.8
    assert data["std"] == pytest.approx([64 / 255] * 3, abs=1e-5)
    assert tuple(data["input_size"]) == (3, *images.shape[-2:])


@pytest.mark.parametrize("format", ["mmpretrain", "safetensors"])
def test_mmpretrain_loads_it_by_the_line_that_is_printed(tmp_path, format):
    config, checkpoint, images, logits = saved(tmp_path)
    out = tmp_path / ("student.pth" if format == "mmpretrain" else "student.safetensors")
    model = loaded(export_student(config, checkpoint, str(out), format=format))
    torch.testing.assert_close(logits_of(model, images), logits, rtol=0, atol=0)
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    plain = {key: value for key, value in weights.items() if not key.startswith("link_head.")}
    assert model.state_dict().keys() == plain.keys() and len(plain) < len(weights)


def test_formats_that_cannot_express_a_student_say_so_and_write_nothing(tmp_path):
    config, checkpoint, _, _ = saved(tmp_path)
    out = tmp_path / "student.pth"
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
    real = timm_student.load_strictly

    def other(model, weights, name):
        real(model, weights, name)
        torch.nn.init.ones_(model.norm.bias)
        return model

    monkeypatch.setattr(timm_student, "load_strictly", other)
    with pytest.raises(ValueError, match="the logits of the student and of timm's .* differ by"):
        export_student(config, checkpoint, str(tmp_path / "s.pth"), format="timm")


@pytest.mark.parametrize(
    ("format", "name", "words"),
    [
        ("torch", "s.pth", "--format='torch'; choose one of .*'mmpretrain'"),
        ("mmpretrain", "s.py", r"s.py: --format mmpretrain writes a file .* with .pth or .pt; "),
        ("timm", "s.onnx", "ends with .pth or .pt or .safetensors; .* or choose --format onnx"),
        (
            "onnx",
            "s.pth",
            "ends with .onnx; change the name, or choose --format mmpretrain or timm",
        ),
        ("hub", "s.pth", "s.pth: --format hub writes a folder; change the name, or choose"),
        ("hub", "taken", "taken: --format hub writes a folder; change the name$"),
    ],
)
def test_another_kind_of_file_is_an_error_before_the_checkpoint_is_read(
    tmp_path, format, name, words
):
    (tmp_path / "taken").touch()
    with pytest.raises(ValueError, match=words):
        export_student("config.py", "gone.pth", str(tmp_path / name), format=format)


@MODELS.register_module()
class LabsOwnBackbone(BaseBackbone):
    """A student that does not say its size, with positions for 3×3 patches of 8 px."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 16, 8, stride=8)
        self.positions = torch.nn.Parameter(torch.zeros(1, 16, 3, 3))

    def forward(self, images):
        return ((self.patches(images) + self.positions).mean((2, 3)),)


def own_backbone(folder, *pipeline):
    """A checkpoint of it, with transforms in the validation pipeline."""
    transfer = dict(type="GradientTransferHead", kind="norm")
    config, checkpoint, *_ = saved(
        folder,
        backbone=dict(type="LabsOwnBackbone"),
        head=dict(type="LinearClsHead", num_classes=10, in_channels=16),
        link_head=None,
        transfer_head=transfer,
    )
    config.val_dataloader.dataset.pipeline = [*pipeline, dict(type="PackInputs")]
    return config, checkpoint


@pytest.mark.parametrize(
    ("pipeline", "given"),
    [
        ([dict(type="Resize", scale=(24, 24))], None),
        ([dict(type="ResizeEdge", scale=40), dict(type="CenterCrop", crop_size=24)], None),
        ([dict(type="ResizeEdge", scale=24)], 24),  # leaves the shape of the image
        ([], [24, 24]),
    ],
)
def test_the_image_size_is_the_pipelines_or_the_given_one(tmp_path, pipeline, given):
    config, checkpoint = own_backbone(tmp_path, *pipeline)
    config.val_dataloader.dataset.type = "CustomDataset"
    del config.val_dataloader.dataset["size"]
    out = str(tmp_path / "s.pth")
    export_student(config, checkpoint, out, image_size=given)
    if given is not None:
        with pytest.raises(ValueError, match=r"images of 224×224: .*; set --image-size"):
            export_student(config, checkpoint, out)


def test_a_size_that_does_not_fit_is_an_error_with_its_source(tmp_path):
    config, checkpoint = own_backbone(tmp_path)
    config.val_dataloader.dataset.size = 32  # of ShapesDataset
    out = str(tmp_path / "s.pth")
    with pytest.raises(ValueError, match="does not take images of 32×32: "):
        export_student(config, checkpoint, out)
    with pytest.raises(ValueError, match="--image-size=0; choose"):
        export_student(config, checkpoint, out, image_size=0)


def test_weights_that_the_checkpoint_replaces_are_not_downloaded(tmp_path, monkeypatch):
    config, checkpoint, images, logits = saved(tmp_path, "timm")
    config.model.backbone.pretrained = True

    def download(*args, **kwargs):
        raise OSError("no network")

    with monkeypatch.context() as patch:
        patch.setattr("timm.models._builder.load_pretrained", download)
        exported = export_student(config, checkpoint, str(tmp_path / "hub"), format="hub")
    model = loaded(exported)
    torch.testing.assert_close(logits_of(model, images), logits, **CLOSE)
