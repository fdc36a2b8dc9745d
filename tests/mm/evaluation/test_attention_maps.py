import re

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config

from aal_plugin.core import resize_maps
from aal_plugin.mm.evaluation.attention_maps import AttentionReader, image_files
from tests.mm.small import AAL, PLAIN, build, training


def save(path, model=AAL):
    built = build(model)
    torch.save(dict(state_dict=built.state_dict(), meta=dict()), path)
    return str(path), built.eval()


def test_maps_are_those_of_the_forward_pass_and_of_the_links(tmp_path):
    path, model = save(tmp_path / "c.pth")
    (shown,) = AttentionReader(training(tmp_path), path).dataset(1)
    pixels = torch.from_numpy(shown.image.transpose(2, 0, 1).copy())[None]
    images = (pixels.float() - 127.5) / 64  # RGB, as the student gets them
    with torch.no_grad():
        model.attention_recorder.start((24, 24))
        model(images)
        maps = model.attention_recorder.stop()
        augmented = model.link_head.links(maps)
    for got, expected in zip(shown.maps, maps):
        torch.testing.assert_close(got, expected[0])
    for got, expected in zip(shown.augmented, augmented):
        torch.testing.assert_close(got, expected[0])
    assert [len(level) for level in shown.activations] == model.teacher.channels
    assert resize_maps(shown.activations[0][None], (3, 3)).shape[-2:] == (3, 3)


def test_images_of_the_validation_set_come_with_their_box_and_title(tmp_path):
    path, _ = save(tmp_path / "c.pth")
    reader = AttentionReader(training(tmp_path), path)
    shown = list(reader.dataset(3))
    assert [s.name for s in shown] == ["val-0", "val-1", "val-2"]
    assert all(s.box.shape == (4,) for s in shown)
    assert re.fullmatch(r"val-0: predicted [\w ]+ \(\d+%\), label [\w ]+", shown[0].title)
    assert shown[0].prediction in shown[0].title
    assert len(list(reader.dataset(100))) == 20  # no more than the set has


def test_plain_students_show_attention_alone(tmp_path):
    path, _ = save(tmp_path / "c.pth", PLAIN)
    (shown,) = AttentionReader(training(tmp_path, PLAIN), path).dataset(1)
    assert len(shown.maps) == 3 and shown.augmented is None and shown.activations is None


def test_image_files_are_shown_in_their_colours_and_at_the_students_size(tmp_path):
    path, _ = save(tmp_path / "c.pth", PLAIN)
    red = np.zeros((50, 70, 3), np.uint8)
    red[..., 2] = 255  # BGR
    mmcv.imwrite(red, str(tmp_path / "images" / "red.png"))
    reader = AttentionReader(training(tmp_path, PLAIN), path)
    (shown,) = reader.files(image_files([str(tmp_path / "images")]))
    assert shown.image.shape == (24, 24, 3) and shown.name == "red" and shown.box is None
    assert shown.image[0, 0].tolist() == [255, 0, 0]


def test_wrong_config_and_checkpoints_are_told(tmp_path):
    path, _ = save(tmp_path / "c.pth")
    with pytest.raises(ValueError, match="c.pth' does not fit the config: .*link_head.*, and 7"):
        AttentionReader(training(tmp_path, PLAIN), path)
    with pytest.raises(FileNotFoundError, match="nowhere.pth': no such file"):
        AttentionReader(training(tmp_path), "nowhere.pth")
    deeper = Config(training(tmp_path).to_dict())
    deeper.model.backbone.arch.num_layers = 4
    with pytest.raises(ValueError, match="does not fit the config"):
        AttentionReader(deeper, path)


def test_folders_are_searched_and_empty_ones_told(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    for name in ("b/2.JPG", "b/1.png", "a.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = image_files([str(tmp_path / "b"), str(tmp_path / "a.webp")])
    assert [path.name for path in found] == ["1.png", "2.JPG", "a.webp"]
    with pytest.raises(FileNotFoundError, match=r"folder '.*empty' has no image \(.jpg, "):
        image_files([str(tmp_path / "empty")])
    with pytest.raises(FileNotFoundError, match="image 'nowhere.png': no such file or folder"):
        image_files(["nowhere.png"])
