"""Views that come again, and maps of them that are computed once, through timm's own loader."""

import json
import random
import re
import signal

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from aal_plugin.core import FrozenTeacher, KeptMaps
from aal_plugin.data import export_image_folder
from aal_plugin.timm.repeated_views import RepeatedViews, label_and_view

from .runs import AAL, SCRIPT, TOOL, changed, launch, ranks, refused, run, started
from .small import batch, gradients, student, task

IMAGES, VIEWS = 20, 2
# timm leaves each image's file open
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    home = tmp_path_factory.mktemp("data") / "shapes"
    export_image_folder(home, train=IMAGES, val=10, size=40)
    return home


def views_of(shapes, views=3, seed=0):
    return RepeatedViews(timm.data.create_dataset("", str(shapes), split="train"), views, seed)


def by_hand(data, number, transform):
    """The pixels of a view, with the random draws that its image and number seed."""
    image, view = divmod(number, data.views)
    (seed,) = np.random.SeedSequence((data.seed, image, view)).generate_state(1)
    random.seed(int(seed)), np.random.seed(seed), torch.manual_seed(int(seed))
    with Image.open(data.dataset.reader.samples[image][0]) as opened:
        return transform(opened.convert("RGB"))


@pytest.mark.parametrize("workers", [0, 2])
def test_k_epochs_show_each_view_once_whatever_the_workers(shapes, workers):
    data = views_of(shapes)
    loader = timm.data.create_loader(
        data, (3, 32, 32), batch_size=5, is_training=True, num_workers=workers,
        mean=(0, 0, 0), std=(1 / 255,) * 3, device=torch.device("cpu"),
        auto_augment="rand-m9-mstd0.5",
    )  # fmt: skip
    labels = [target for _, target in data.dataset.reader.samples]
    passes = []
    for epoch in (0, 1, 2, 3):
        data.set_epoch(epoch)  # workers of timm's loader live longer than an epoch
        shown = {}
        for images, targets in loader:
            found, views = label_and_view(targets)
            assert found.tolist() == [labels[view // 3] for view in views]
            shown |= dict(zip(views, images))
        passes.append(shown)
    assert sorted({**passes[0], **passes[1], **passes[2]}) == list(range(3 * IMAGES))
    assert passes[3].keys() == passes[0].keys()
    assert len({view % 3 for view in passes[0]}) == 3  # an image begins with a view of its own
    for number in list(passes[3])[:6]:
        expected = torch.as_tensor(by_hand(data, number, data.transform))
        torch.testing.assert_close(passes[3][number], expected.float())
        assert torch.equal(passes[3][number], passes[0][number])


def test_other_seeds_show_other_views_and_the_trainings_draws_go_on(shapes):
    one, other = views_of(shapes), views_of(shapes, seed=1)
    for data in (one, other):
        data.transform = timm.data.create_transform(32, is_training=True)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert not any(torch.equal(one[index][0], other[index][0]) for index in range(IMAGES))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == before


def counted(ours):
    passes = []
    ours.teacher.register_forward_pre_hook(lambda module, inputs: passes.append(inputs))
    return passes


@pytest.mark.parametrize(
    "settings",
    [dict(map_size=2, antialias=True), dict(guidance=2.5), dict(links=None, guidance=2.5)],
    ids=["smoothed", "links and guidance", "guidance"],
)
def test_loss_and_gradients_are_those_of_a_live_teacher_which_then_never_runs(tmp_path, settings):
    live, kept, again = task(**settings), task(**settings), task(**settings)
    for ours in (kept, again):
        ours.keep_maps(str(tmp_path), 9, dict(images="a"), (3, 32, 32))
    images, target = batch()
    expected = live(images, target)
    expected["loss"].backward()
    reference = gradients(live.get_trainable_module())
    found = []
    for ours, calls in ((kept, 1), (again, 0)):
        passes = counted(ours)
        result = ours(images, target, views=[3, 0, 8, 7])
        result["loss"].backward()
        assert len(passes) == calls
        torch.testing.assert_close(result["loss"], expected["loss"], rtol=1e-3, atol=0)
        grads = gradients(ours.get_trainable_module())
        for name, gradient in reference.items():
            gap = (gradient - grads[name]).norm() / gradient.norm().clamp_min(1e-12)
            assert gap < 2e-2, name
        found.append(grads)
    assert all(torch.equal(found[0][name], found[1][name]) for name in reference)
    assert any(not torch.equal(found[0][name], reference[name]) for name in reference)


def test_wrong_pixels_are_seen_also_where_only_kept_maps_are_read(tmp_path):
    images, target = batch()
    for brightness in (1, 50):
        ours = task(student(), mean=(0.5,) * 3, std=(0.25,) * 3)
        ours.keep_maps(str(tmp_path), 9, {}, (3, 32, 32))
        step = [brightness * images, target, [3, 0, 8, 7]]
        if brightness == 1:
            ours(*step)
    with pytest.raises(ValueError, match="would see wrong pixels"):
        ours(*step)


def options_of(shapes, maps):
    return [
        *AAL, "--data-dir", str(shapes), "--batch-size", "5", "--epochs", str(VIEWS),
        "--aal-views", str(VIEWS), "--aal-kept-maps", str(maps),
    ]  # fmt: skip


@pytest.fixture
def options(shapes, tmp_path):
    return options_of(shapes, tmp_path / "maps")


def test_a_second_run_reads_what_the_first_has_kept_and_the_teacher_never_runs(
    options, tmp_path, monkeypatch
):
    forward, batches = FrozenTeacher.forward, []

    def counting(self, images, *given, **settings):
        batches.append(len(images))
        return forward(self, images, *given, **settings)

    monkeypatch.setattr(FrozenTeacher, "forward", counting)
    first = run(tmp_path / "first", *options)
    key = json.loads((tmp_path / "maps/key.json").read_text())
    assert key["views"] == VIEWS * IMAGES
    assert batches == [1, *[5] * 4 * VIEWS]  # one image, for the size of its maps
    batches.clear()
    second = run(tmp_path / "second", *options)
    assert batches == [1]
    torch.testing.assert_close(second["state_dict"], first["state_dict"], rtol=0, atol=0)
    live = run(tmp_path / "live", *options[:-2])
    torch.testing.assert_close(first["state_dict"], live["state_dict"], rtol=1e-2, atol=1e-3)
    assert not torch.equal(first["state_dict"]["head.weight"], live["state_dict"]["head.weight"])


@pytest.fixture(scope="module")
def kept(shapes, tmp_path_factory):
    """The options of a run whose maps are kept."""
    folder = tmp_path_factory.mktemp("kept")
    options = options_of(shapes, folder / "maps")
    run(folder / "first", *options)
    return options


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--hflip", "0.4"], "another transform: .*p=0.5.*p=0.4"),
        (["--aal-views-seed", "1"], "another seed: 0, this run has 1"),
        (["--aal-views", "3"], "another views: 40, this run has 60"),
        (["--seed", "1"], "another teacher weights: "),  # of other random weights
        (["--aal-teacher-layers", "layer1", "layer4"], "another layers: "),
        (["--data-dir", "other"], "another images: "),
    ],
)
def test_maps_of_other_views_or_teachers_are_never_read(kept, tmp_path, capsys, change, words):
    if "other" in change:
        export_image_folder(tmp_path / "other", train=IMAGES, val=10, size=40, seed=5)
        change = ["--data-dir", tmp_path / "other"]
    said = refused(capsys, tmp_path, *kept, *change)
    assert re.search(f"error: --aal-kept-maps '.*' holds maps of {words}", said)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--mixup", "0.8"], "--mixup does not go with --aal-kept-maps: it mixes images"),
        (["--reprob", "0.2"], "--reprob does not go with --aal-kept-maps: timm's prefetcher"),
        (["--aal-views", "0"], "--aal-views 0; choose a whole number, 1 or more"),
        (["--aal-views-seed", "-1"], "--aal-views-seed -1; choose a whole number, 0 or more"),
    ],
)
def test_options_that_views_forbid_are_named(options, tmp_path, capsys, change, words):
    assert f"train_script.py: error: {words}" in refused(capsys, tmp_path, *options, *change)


def test_a_view_keeps_what_is_erased_from_it_without_the_prefetcher(options, tmp_path):
    options += ["--reprob", "1", "--no-prefetcher"]
    run(tmp_path / "first", *options)
    assert "RandomErasing" in json.loads((tmp_path / "maps/key.json").read_text())["transform"]


def test_logits_are_not_kept(options, tmp_path, capsys):
    distill = ["--aal-distill", "hard", "--aal-teacher-num-classes", "10"]
    words = "keeps the teacher's maps alone, but --aal-distill 'hard' needs its logits"
    assert words in refused(capsys, tmp_path, *options, *distill)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("import create_dataset, create_loader", "import create_dataset", "that imports create_lo"),
        ("(epoch, module, loader,", "(epoch, module, list(loader),", "train_one_epoch of this tra"),
    ],
)
def test_a_script_whose_loader_aal_cannot_reach_is_stopped(
    options, tmp_path, capsys, old, new, words
):
    assert words in refused(capsys, tmp_path, *options, script=changed(tmp_path, (old, new)))


def test_images_that_have_no_number_or_no_label_are_rejected(shapes, tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(ValueError, match="^Stream streams its images"):
        RepeatedViews(Stream(), 3)
    with pytest.raises(ValueError, match="needs one label of each image, and got -1"):
        RepeatedViews([("image", -1)], 3)[0]
    with pytest.raises(ValueError, match="a list does not tell which images it has"):
        RepeatedViews([("image", 1)], 3).shown()


def test_a_broken_image_is_named_instead_of_the_next_one_shown(tmp_path):
    export_image_folder(tmp_path, train=10, val=10, size=40)
    data = views_of(tmp_path)
    path = data.dataset.reader.samples[4][0]
    with open(path, "wb") as file:
        file.write(b"no image")
    with pytest.raises(ValueError, match=f"image {re.escape(path)} failed to load"):
        data[4]


def test_a_killed_run_is_completed_on_two_ranks(options, tmp_path):
    killed = changed(
        tmp_path,
        (
            "        update = (step",
            "        os.kill(os.getpid(), 9 * epoch * step)\n        update = (",
        ),
    )
    process = started(tmp_path / "run", *options, script=killed)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    key = json.loads((tmp_path / "maps/key.json").read_text())
    parts = dict(views=key.pop("views"), shapes=key.pop("shapes"), key=key)
    maps = KeptMaps(tmp_path / "maps", **parts)
    before = {view: maps.read([view])[0] for view in range(maps.views)}
    before = {view: entry for view, entry in before.items() if entry is not None}
    assert IMAGES < len(before) < maps.views
    resume = ["--resume", tmp_path / "run/last.pth.tar", "--output", tmp_path / "rest"]
    launch(*ranks(), TOOL, SCRIPT, *options, *resume)
    assert maps.complete()
    assert all(np.array_equal(maps.read([view])[0], entry) for view, entry in before.items())
    run(tmp_path / "whole", *options, "--aal-kept-maps", tmp_path / "unbroken")
    whole = KeptMaps(tmp_path / "unbroken", **parts)
    for view in range(maps.views):
        ours, expected = (np.stack(store.read([view])) for store in (maps, whole))
        for level, other in zip(maps.unpacked(ours), maps.unpacked(expected)):
            torch.testing.assert_close(level, other, rtol=0, atol=0.01 * float(other.abs().max()))
