"""Exported students where aal_plugin is not installed."""

import subprocess
import sys

import numpy as np
from mmengine.config import Config

from aal_plugin.mm.export import export_student

from .students import noise_image, saved

# A Python that cannot import aal_plugin, as where it is not installed.
ELSEWHERE = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "aal_plugin":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Blocker())
import numpy as np, torch
from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer, get_model
config, checkpoint, images, image, out = sys.argv[1:]
model = get_model(config, pretrained=checkpoint).eval()
with torch.no_grad():
    logits = model(torch.from_numpy(np.load(images))).numpy()
(found,) = ImageClassificationInferencer(config, pretrained=checkpoint)(image)
np.savez(out, logits=logits, scores=found["pred_scores"], name=found["pred_class"])
assert not [name for name in sys.modules if name.startswith("aal_plugin")]
"""


def test_mmpretrain_loads_and_runs_it(tmp_path):
    config, checkpoint, images, logits = saved(tmp_path, "timm")
    loads = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=tuple(images.shape[-2:]))]
    config.val_dataloader.dataset.pipeline = [*loads, dict(type="PackInputs")]
    out = tmp_path / "out" / "student.pth"
    exported = export_student(config, checkpoint, str(out))
    assert exported.files == [out, out.with_suffix(".py")]
    np.save(tmp_path / "images.npy", images.numpy())
    given = [out.with_suffix(".py"), out, tmp_path / "images.npy", noise_image(tmp_path / "a.png")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ELSEWHERE, *map(str, given), tmp_path / "o.npz"],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(tmp_path / "o.npz")
    np.testing.assert_allclose(found["logits"], logits.numpy(), rtol=1e-5, atol=1e-5)
    assert found["scores"].shape == (10,) and str(found["name"]).startswith("class ")


def test_the_config_has_nothing_of_training(tmp_path):
    config, checkpoint, _, _ = saved(tmp_path)
    config.model.init_cfg = dict(type="DeiTInit")
    config.custom_imports.imports.append("math")
    out = tmp_path / "student.pth"
    export_student(config, checkpoint, str(out))
    plain = Config.fromfile(out.with_suffix(".py"))
    assert set(plain) == {"default_scope", "custom_imports", "model", "test_dataloader"}
    assert plain.custom_imports.imports == ["math"]  # a lab's own
    assert set(plain.model) == {"type", "backbone", "head", "data_preprocessor"}
    assert "aal_plugin" not in out.with_suffix(".py").read_text()


def test_a_student_that_only_we_provide_says_so(tmp_path):
    backbone = dict(type="NetworkInNetwork", width=8)
    head = dict(type="LinearClsHead", num_classes=10, in_channels=8)
    transfer = dict(type="ActivationTransferHead", pairs=[(3, 4)])
    model = dict(backbone=backbone, head=head, neck=dict(type="GlobalAveragePooling"))
    config, checkpoint, _, _ = saved(tmp_path, **model, link_head=None, transfer_head=transfer)
    exported = export_student(config, checkpoint, str(tmp_path / "s.pth"))
    assert any("only aal_plugin provides NetworkInNetwork" in note for note in exported.notes)
    plain = Config.fromfile(tmp_path / "s.py")
    assert plain.custom_imports.imports == ["aal_plugin.mm"]
