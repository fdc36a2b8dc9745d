import hashlib
import io
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

import aal_plugin.mm
from aal_plugin.data import (
    CLASSES,
    SPLITS,
    draw_shapes,
    export_image_folder,
    load_shapes,
    shapes,
    split_seed,
)
from aal_plugin.data.scene import draw_scene
from aal_plugin.data.shapes_export import main

# Starts a program that imports aal_plugin.data without aal_plugin's other parts.
DATA_ALONE = (
    "import sys, types; package = types.ModuleType('aal_plugin'); "
    f"package.__path__ = {aal_plugin.__path__!r}; sys.modules['aal_plugin'] = package; "
)


@pytest.fixture(scope="module")
def many():
    return draw_shapes(1000, size=24, seed=5)


def run_python(*args, wait=True):
    command = [sys.executable, *map(str, args)]
    env = {**os.environ, "PYTHONWARNINGS": "default::RuntimeWarning"}
    if not wait:
        return subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    return subprocess.run(command, env=env, capture_output=True, text=True)


def same(a, b):
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(a, b))


def archive(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def cached_file(folder):
    (path,) = folder.iterdir()
    return path


# -- drawing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, digest",
    [
        (48, "a76898fe0c5df73663d8b64b11c2e7b7fee492567e116344e8819fe9fb5ec132"),
        (64, "a8756f8c1a8a5334a65a280737dbd108f4a9439cc6f1fdddfe527f0c40d5c561"),
    ],
)
def test_bytes_are_the_same_on_every_machine(size, digest):
    drawn = draw_shapes(60, size=size, seed=11)
    whole = hashlib.sha256(b"".join(array.tobytes() for array in drawn))
    assert whole.hexdigest() == digest


def test_an_image_does_not_depend_on_how_many_are_drawn():
    short, long = draw_shapes(7, size=32, seed=2), draw_shapes(23, size=32, seed=2)
    assert same(short, (array[:7] for array in long))


def test_no_split_of_any_seed_shares_its_seed_with_another():
    seeds = [split_seed(split, seed) for split in SPLITS for seed in range(50)]
    assert len(set(seeds)) == 150
    assert seeds[:3] == [0, 2, 4] and seeds[50:53] == [1, 3, 5]  # the images of the caches


def test_classes_are_balanced_in_every_prefix(many):
    for num in (10, 250, 1000):
        assert (np.bincount(many.labels[:num], minlength=10) == num // 10).all()
    for num in (7, 101, 999):
        counts = np.bincount(many.labels[:num], minlength=10)
        assert counts.max() - counts.min() == 1


@pytest.mark.parametrize("size", [16, 33, 64])
def test_box_encloses_the_shape_exactly(size):
    for label in range(10):
        scene = draw_scene(label, size, np.random.default_rng([label, size]))
        whole = Image.new("1", (size, size))
        mask = Image.fromarray(scene.mask)
        whole.paste(mask, (scene.crop[1].start, scene.crop[0].start))
        assert scene.box() == list(whole.getbbox())


def test_shapes_lie_in_the_image_and_span_a_third_to_two_thirds_of_it(many):
    x1, y1, x2, y2 = many.boxes.T
    assert x1.min() >= 0 and y1.min() >= 0 and x2.max() <= 24 and y2.max() <= 24
    longer = np.maximum(x2 - x1, y2 - y1) / 24
    assert 0.25 <= longer.min() < 0.4 and 0.6 < longer.max() <= 0.75


# An upright arrow is wide and a crescent is tall, so the size of the box tells a little.
@pytest.mark.parametrize(
    ("cue", "limit"), [("mean colour", 0.2), ("box size", 0.35), ("box place", 0.2)]
)
def test_class_cannot_be_read_from(cue, limit, many):
    x1, y1, x2, y2 = many.boxes.T.astype(float)
    feature = {
        "mean colour": many.images.reshape(1000, -1, 3).mean(axis=1),
        "box size": np.stack([x2 - x1, y2 - y1], axis=1),
        "box place": np.stack([x1 + x2, y1 + y2], axis=1),
    }[cue]
    train, test = slice(0, 500), slice(500, 1000)
    centroids = np.stack([feature[train][many.labels[train] == k].mean(axis=0) for k in range(10)])
    gaps = np.linalg.norm(feature[test][:, None] - centroids, axis=2)
    assert (gaps.argmin(axis=1) == many.labels[test]).mean() < limit


@pytest.mark.parametrize(
    "kwargs, words",
    [
        (dict(num=0), "num=0; choose a whole number, 1 or more"),
        (dict(num=2.5), "num=2.5; choose a whole number"),
        (dict(num=1, size=8), "size=8; choose a whole number, 16 or more"),
        (dict(num=1, seed=-1), "seed=-1; choose a whole number, 0 or more"),
    ],
)
def test_bad_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=words):
        draw_shapes(**kwargs)
    with pytest.raises(ValueError, match="split='dev'; choose 'train', 'val' or 'test'"):
        split_seed("dev", 0)


# -- cache -----------------------------------------------------------------------------------


def test_second_load_reads_what_the_first_drew(tmp_path, monkeypatch, capsys):
    first = load_shapes(12, 32, 3, tmp_path)
    assert "12 of 32 px" in capsys.readouterr().err  # the progress bar
    monkeypatch.setattr(shapes, "draw_shapes", None)
    assert same(load_shapes(12, 32, 3, tmp_path), first)
    assert same(first, draw_shapes(12, 32, 3))


def test_file_is_in_the_folder_of_the_environment_and_says_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("AAL_CACHE", str(tmp_path / "new" / "folder"))
    load_shapes(2, 16, 3)
    assert cached_file(tmp_path / "new" / "folder").name == "shapes-v1_n2_s16_seed3.npz"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:5000] + bytes([data[5000] ^ 4]) + data[5001:],
        lambda data: archive(**draw_shapes(4, 16)._asdict()),
    ],
    ids=["cut short", "a flipped bit", "other shapes"],
)
def test_damaged_cache_file_is_drawn_anew(damage, tmp_path):
    first = load_shapes(12, 32, 3, tmp_path)
    path = cached_file(tmp_path)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    with pytest.warns(UserWarning, match=f"drawing the shapes again, because .*{path.name} cannot"):
        assert same(load_shapes(12, 32, 3, tmp_path), first)
    assert same(np.load(path).values(), first)


def test_interrupted_write_leaves_no_file_under_the_cache_name(tmp_path, monkeypatch):
    def die(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(np, "savez", die)
        load_shapes(4, 16, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_costs_only_the_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="the shapes could not be cached"):
        drawn = load_shapes(4, 16, 0, tmp_path / "file")
    assert same(drawn, draw_shapes(4, 16, 0))


def test_processes_that_draw_at_once_leave_one_good_file(tmp_path):
    code = "from aal_plugin.data import load_shapes; load_shapes(100, 32, 0, sys.argv[1])"
    ranks = [run_python("-c", DATA_ALONE + code, tmp_path, wait=False) for _ in range(2)]
    assert [rank.wait() for rank in ranks] == [0, 0]
    assert same(np.load(cached_file(tmp_path)).values(), draw_shapes(100, 32, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_shapes(100, 32, 0, tmp_path)


# -- export ----------------------------------------------------------------------------------


def test_export_holds_the_images_and_boxes_of_all_splits(tmp_path):
    export_image_folder(tmp_path / "new", train=30, val=20, size=32, seed=4, test=10)
    boxes = json.loads((tmp_path / "new" / "boxes.json").read_text())
    for split, num in [("train", 30), ("val", 20), ("test", 10)]:
        drawn = draw_shapes(num, 32, split_seed(split, 4))
        for i in range(num):
            name = f"{split}/{CLASSES[drawn.labels[i]]}/{i:05d}.png"
            assert np.array_equal(np.array(Image.open(tmp_path / "new" / name)), drawn.images[i])
            assert boxes.pop(name) == drawn.boxes[i].tolist()
        assert len(list((tmp_path / "new" / split).glob("*/*.png"))) == num
    assert not boxes


def test_export_replaces_an_earlier_one(tmp_path):
    export_image_folder(tmp_path, train=30, val=20, size=16, test=10)
    export_image_folder(tmp_path, train=10, val=10, size=24, seed=1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["train", "val"]
    assert len(list(tmp_path.glob("*/*/*.png"))) == 20
    assert len(json.loads((tmp_path / "boxes.json").read_text())) == 20


def test_export_leaves_a_foreign_folder_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is neither an empty folder nor an earlier export"):
        export_image_folder(tmp_path, train=10, val=10)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_command_line_exports(tmp_path):
    arguments = ["--export", tmp_path / "set", "--train", 20, "--val", 10, "--size", 32]
    done = run_python("-m", "aal_plugin.data", *arguments)
    assert done.returncode == 0, done.stderr
    assert "20 train, 10 val images" in done.stdout
    assert "RuntimeWarning" not in done.stderr  # a module imported before it is run
    assert len(list((tmp_path / "set" / "train").glob("*/*.png"))) == 20


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--export", "{}/new", "--train", "0"], "train=0; choose a whole number, 1 or more"),
        (["--export", "{}"], "is neither an empty folder nor an earlier export"),
        ([], "required: --export"),
    ],
)
def test_command_line_reports_bad_arguments_in_a_line(arguments, words, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main([argument.format(tmp_path) for argument in arguments])
    assert words in capsys.readouterr().err


def test_data_imports_neither_torch_nor_mmengine():
    code = (
        "from aal_plugin.data import draw_shapes; draw_shapes(1); "
        "print([name for name in ('torch', 'mmengine', 'PIL', 'tqdm') if name in sys.modules])"
    )
    assert run_python("-c", DATA_ALONE + code).stdout.strip() == "[]"
