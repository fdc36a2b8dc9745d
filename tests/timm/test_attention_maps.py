"""Attention of a timm run's folder, beside timm's own loader and the modules called one by one."""

import argparse

import pytest
import timm
import torch
import yaml
from timm.data import create_dataset, create_loader, resolve_data_config

from aal_plugin.core import AttentionRecorder, TimmTeacher
from aal_plugin.data import CLASSES, export_image_folder
from aal_plugin.timm import AttentionLinkTask
from aal_plugin.timm.attention_maps import TimmAttentionReader
from aal_plugin.timm.options import add_options

STUDENT = dict(embed_dim=32, depth=3, num_heads=2, patch_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What train.py leaves: args.yaml and checkpoints, of a run with AAL and of a plain one."""
    home = tmp_path_factory.mktemp("run")
    export_image_folder(home / "shapes", train=10, val=20, size=48)
    parser = argparse.ArgumentParser()
    add_options(parser)
    options = vars(parser.parse_args(["--aal-links", "alpha"]))
    options.update(
        model="vit_tiny_patch16_224",
        model_kwargs=STUDENT,
        img_size=48,
        num_classes=10,
        crop_pct=1.0,
        mean=[0.5, 0.4, 0.3],
        std=[0.2, 0.25, 0.3],
        data_dir=str(home / "shapes"),
        val_split="validation",
        seed=3,
        epochs=5,
    )
    torch.manual_seed(0)
    student = timm.create_model(options["model"], img_size=48, num_classes=10, **STUDENT)
    torch.nn.init.normal_(student.head.weight)
    teacher = TimmTeacher("test_resnet", allow_random_weights=True)
    task = AttentionLinkTask(student, teacher, links="alpha", verbose=False)
    for name, aal in (
        ("aal", dict(aal_teacher="test_resnet", aal_random_teacher=True)),
        ("plain", {}),
    ):
        (home / name).mkdir()
        (home / name / "args.yaml").write_text(yaml.safe_dump({**options, **aal}))
        saved = dict(state_dict=student.state_dict(), task_state=task.get_task_state())
        torch.save(saved, home / name / "last.pth.tar")
    return home, student.eval(), task


def read(folder, name, count=2):
    reader = TimmAttentionReader(folder / name / "args.yaml", folder / name / "last.pth.tar")
    return reader, list(reader.dataset(count))


def images_of_timm(folder, channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3)):
    data = resolve_data_config(
        dict(img_size=48, in_chans=channels, crop_pct=1.0, mean=list(mean), std=list(std))
    )
    mode = "RGB" if channels == 3 else "L"
    dataset = create_dataset("", str(folder / "shapes"), split="validation", input_img_mode=mode)
    loader = create_loader(
        dataset, batch_size=2, use_prefetcher=False, num_workers=0, device="cpu",
        **{key: data[key] for key in ("input_size", "mean", "std", "crop_pct", "interpolation")},
    )  # fmt: skip
    return next(iter(loader))


@pytest.mark.parametrize("name", ["aal", "plain"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # timm's open files
def test_images_predictions_and_maps_are_those_of_timms_own_loader(folder, name):
    home, student, _ = folder
    images, labels = images_of_timm(home)
    _, shown = read(home, name)
    recorder = AttentionRecorder(student)
    with torch.no_grad():
        recorder.start((48, 48))
        scores = student(images).softmax(dim=-1)
        maps = recorder.stop()
    for index, one in enumerate(shown):
        best = int(scores[index].argmax())
        assert one.prediction == f"{sorted(CLASSES)[best]} ({float(scores[index, best]):.0%})"
        assert one.title.endswith(f"label {sorted(CLASSES)[int(labels[index])]}")
        assert len(one.maps) == 3 and one.maps[0].shape == (2, 6, 6)
        assert (one.augmented is None) == (one.activations is None) == (name == "plain")
        for ours, theirs in zip(one.maps, maps):
            torch.testing.assert_close(ours, theirs[index], rtol=1e-4, atol=1e-6)
        mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
        pixels = 255 * (images[index].permute(1, 2, 0) * std + mean)
        assert (torch.tensor(one.image) - pixels).abs().max() <= 0.51


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # timm's open files
def test_a_student_of_grey_images_sees_them_as_timms_own_loader_reads_them(folder, tmp_path):
    home, _, _ = folder
    options = yaml.safe_load((home / "plain" / "args.yaml").read_text())
    options.update(in_chans=1, mean=[0.4], std=[0.25])
    (tmp_path / "args.yaml").write_text(yaml.safe_dump(options))
    grey = timm.create_model(options["model"], img_size=48, num_classes=10, in_chans=1, **STUDENT)
    torch.save(dict(state_dict=grey.state_dict()), tmp_path / "last.pth.tar")
    (shown,) = TimmAttentionReader(tmp_path / "args.yaml", tmp_path / "last.pth.tar").dataset(1)
    images, _ = images_of_timm(home, channels=1, mean=[0.4], std=[0.25])
    recorder = AttentionRecorder(grey.eval())
    recorder.start((48, 48))
    grey(images)
    torch.testing.assert_close(shown.maps[-1], recorder.stop()[-1][0], rtol=1e-4, atol=1e-6)
    pixels = 255 * (images[0, 0] * 0.25 + 0.4)
    assert (torch.tensor(shown.image) - pixels[..., None]).abs().max() <= 0.51


def test_augmented_maps_are_the_saved_links_of_the_maps(folder):
    home, _, task = folder
    reader, (shown, _) = read(home, "aal")
    ranges = task.trainable_module.links.ranges
    for level, link in enumerate(task.trainable_module.links):
        first, last = ranges[level]
        stacked = torch.cat(shown.maps[first - 1 : last])  # all blocks have the grid of the links
        weight = link.weight.detach().flatten(1)
        expected = torch.einsum("cm,mhw->chw", weight, stacked) + link.bias.detach().view(-1, 1, 1)
        torch.testing.assert_close(shown.augmented[level], expected, rtol=1e-4, atol=1e-5)
        assert shown.activations[level].shape[0] == reader.task.teacher.channels[level]


def test_a_checkpoint_of_another_student_is_named(folder, tmp_path):
    args = yaml.safe_load((folder[0] / "aal" / "args.yaml").read_text())
    (tmp_path / "args.yaml").write_text(yaml.safe_dump({**args, "num_classes": 7}))
    with pytest.raises(ValueError, match=r"last\.pth\.tar does not fit .*args\.yaml"):
        TimmAttentionReader(tmp_path / "args.yaml", folder[0] / "aal" / "last.pth.tar")
