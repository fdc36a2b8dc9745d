"""AALClassifier with kept maps: the losses of a teacher that always runs, up to the rounding."""

import pytest
import timm
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from aal_plugin.mm.datasets.repeated_views import View
from aal_plugin.mm.models.heads.teacher_head import ACTIVATIONS, TeacherHead
from aal_plugin.mm.models.kept_maps import grid_of
from aal_plugin.mm.runs.as_data import load_as_data
from aal_plugin.mm.runs.protection import protected
from tests.mm.small import AAL, TEACHER, batch, build, scalars, total, training

HINTS = dict(AAL, transfer_head=dict(type="HintHead", loss_weight=100.0))
GUIDED = dict(AAL, guidance=2.5)
ALONE = {key: value for key, value in GUIDED.items() if key != "link_head"}
TRANSFER = dict(AAL, transfer_head=dict(type="ActivationTransferHead"))
LARGER = dict(AAL, link_head=dict(AAL["link_head"], map_size=6), guidance=2.5)
COARSE = dict(HINTS, link_head=dict(AAL["link_head"], map_size=2))
SMOOTH = dict(AAL, link_head=dict(AAL["link_head"], antialias=True))
CLASSES = dict(TEACHER, num_classes=10)


def config(work_dir, maps="maps", views=2, epochs=4, model=AAL, **changes):
    cfg = training(work_dir, model, epochs=epochs, images=20, **changes)
    cfg.train_dataloader.dataset.pipeline.insert(0, dict(type="RandomFlip", prob=0.5))
    cfg.train_dataloader.dataset.pipeline.insert(
        0, dict(type="RandomCrop", crop_size=24, padding=4)
    )
    cfg.train_dataloader.dataset = dict(
        type="RepeatedViews",
        dataset=cfg.train_dataloader.dataset,
        views=views,
        kept_maps=None if maps is None else str(work_dir.parent / maps),
    )
    return cfg


def trained(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def losses(work_dir):
    return [line["loss"] + line["loss_link"] for line in scalars(work_dir) if "loss_link" in line]


def test_a_second_run_reads_what_the_first_has_kept_and_is_equal_to_the_bit(tmp_path):
    first = trained(config(tmp_path / "first"))
    kept = first.model._kept
    assert kept.passes == 4 and kept.kept.complete()  # two batches of each of two views
    second = trained(config(tmp_path / "second"))
    assert second.model._kept.passes == 0
    assert losses(tmp_path / "first") == losses(tmp_path / "second")
    for one, other in zip(first.model.parameters(), second.model.parameters()):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("model", "bits", "gap"),
    [(GUIDED, 8, 2e-2)]
    + [(model, 16, 2e-4) for model in (SMOOTH, HINTS, GUIDED, TRANSFER, COARSE)],
)
def test_losses_and_gradients_are_those_of_a_live_teacher(tmp_path, model, bits, gap):
    live = Runner.from_cfg(config(tmp_path / "live", maps=None, model=model))
    cfg = config(tmp_path / "kept", model=model)
    cfg.train_dataloader.dataset.kept_bits = bits
    kept = Runner.from_cfg(cfg)
    gradients, losses = [], []
    for runner in (live, kept):
        loader = runner.build_dataloader(runner._train_dataloader, seed=0)
        net = runner.model
        net.train()
        torch.manual_seed(0)
        data = net.data_preprocessor(next(iter(loader)), True)
        losses.append(net(**data, mode="loss"))
        total(losses[-1]).backward()
        gradients.append({n: p.grad.clone() for n, p in net.named_parameters()})
    assert kept.model._kept.passes == 1 and live.model._kept is None
    for name, value in losses[0].items():
        assert abs(value - losses[1][name]) <= gap * abs(value), name
    for name, gradient in gradients[0].items():
        apart = (gradient - gradients[1][name]).norm() / gradient.norm().clamp_min(1e-12)
        assert apart < gap, (name, apart)
    differ = [n for n in gradients[0] if not torch.equal(gradients[0][n], gradients[1][n])]
    assert differ  # the kept maps were used


@MODELS.register_module(force=True)
class OwnHead(TeacherHead):
    needs = frozenset({ACTIVATIONS})


OWN = dict(AAL, transfer_head=dict(type="OwnHead", loss_weight=1.0))


@pytest.mark.parametrize(
    ("model", "grid"),
    [(GUIDED, (3, 3)), (ALONE, (3, 3)), (TRANSFER, None), (LARGER, None), (OWN, None)],
)
def test_maps_are_made_smaller_only_where_every_loss_compares_them_on_one_grid(model, grid):
    """Resized twice, or before a square, a map would not be what a live teacher gives."""
    images, _ = batch()
    assert grid_of(build(model), images[:1])[0] == grid


@pytest.mark.parametrize(
    ("change", "folders", "words"),
    [
        (dict(distill_head=dict(type="DistillHead")), ["a", "a"], "logits"),
        (dict(train_cfg=dict(augments=dict(type="Mixup", alpha=0.8))), ["a", "a"], "train_cfg.aug"),
        (dict(), ["a", "b"], "a batch has images of 2 data sets"),
        (dict(), ["a", None], "a batch has images of 2 data sets"),
    ],
)
def test_what_cannot_be_kept_is_rejected(change, folders, words):
    model = build(AAL, teacher=CLASSES, **change).train()
    images, samples = batch(2)
    for sample, folder in zip(samples, folders):
        sample.set_metainfo(dict(view=View(number=0, count=4, images={}, folder=folder)))
    with pytest.raises(ValueError, match=f"RepeatedViews.kept_maps='a'.*{words}"):
        model(images, samples, mode="loss")


def other_pipeline(cfg):
    cfg.train_dataloader.dataset.dataset.pipeline[1]["prob"] = 0.4


def other_seed(cfg):
    cfg.train_dataloader.dataset.seed = 1


def other_images(cfg):
    cfg.train_dataloader.dataset.dataset.num_images = 30


def other_teacher(cfg):
    cfg.randomness.seed = 1  # a teacher of other random weights


def other_grid(cfg):
    cfg.model.link_head.map_size = 2


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a run that has kept maps."""
    folder = tmp_path_factory.mktemp("first")
    trained(config(folder / "run", epochs=1))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_pipeline, "another pipeline: .*0.5.*0.4"),
        (other_seed, "another seed: 0, this run has 1"),
        (other_images, "another images: "),
        (other_teacher, "another teacher weights: "),
        (other_grid, "another grid: "),
    ],
)
def test_maps_of_other_views_or_teachers_are_never_read(first, change, words):
    cfg = config(first / "second", epochs=1)
    change(cfg)
    with pytest.raises(ValueError, match=f"(?s)holds maps of {words}"):
        trained(cfg)


@pytest.fixture
def weights(tmp_path):
    """A config of a teacher with a file of weights, as a run names it, and the file."""
    file = tmp_path / "teacher.pth"
    save_weights(file, seed=5)
    teacher = dict(type="TimmTeacher", model_name="test_resnet", num_classes=10)
    return dict(AAL, teacher=dict(teacher, checkpoint=str(file))), file


def save_weights(file, seed):
    torch.manual_seed(seed)
    torch.save(timm.create_model("test_resnet", num_classes=10).state_dict(), file)


@pytest.mark.parametrize("normalised", ["data_preprocessor", "pipeline"])
def test_once_all_maps_are_kept_the_teacher_is_not_built_and_its_file_not_needed(
    tmp_path, weights, normalised
):
    model, file = weights

    def run(name):
        cfg = config(tmp_path / name, model=model, log_level="INFO")
        if normalised == "pipeline":
            pixels = cfg.model.data_preprocessor
            step = dict(type="Normalize", mean=pixels.pop("mean"), std=pixels.pop("std"))
            cfg.train_dataloader.dataset.dataset.pipeline.insert(2, dict(step, to_rgb=False))
        return trained(cfg)

    first = run("first")
    assert first.model._kept.passes == 4
    for name in ("with", "without"):
        runner = run(name)
        assert runner.model._kept.passes == 0
        assert runner.model._teacher.module.built is None
        log = next((tmp_path / name).glob("*/*.log")).read_text()
        assert log.count("the teacher is not built unless one is missing") == 1
        assert losses(tmp_path / "first") == losses(tmp_path / name)
        for one, other in zip(first.model.parameters(), runner.model.parameters()):
            assert torch.equal(one, other)
        file.unlink(missing_ok=True)
    with open(tmp_path / "maps" / "maps.bin", "r+b") as maps:
        maps.truncate(runner.model._kept.kept.size - 1)
    with pytest.raises(FileNotFoundError, match="teacher.checkpoint='.*teacher.pth': no such file"):
        run("damaged")
    save_weights(file, seed=5)
    runner = run("repaired")
    assert runner.model._kept.passes == 1 and runner.model._kept.kept.complete()
    for one, other in zip(first.model.parameters(), runner.model.parameters()):
        assert torch.equal(one, other)


def other_file(cfg, file):
    save_weights(file, seed=6)


def other_name(cfg, file):
    cfg.model.teacher.model_name = "test_efficientnet"
    torch.save(timm.create_model("test_efficientnet", num_classes=10).state_dict(), file)


def other_layers(cfg, file):
    cfg.model.teacher.layers = ["layer2", "layer3"]


def other_precision(cfg, file):
    cfg.model.teacher.dtype = "bfloat16"


def other_pixels(cfg, file):
    cfg.model.update(images_mean=[120.0] * 3, images_std=[64.0] * 3)
    file.unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_file, "teacher weights: "),
        (other_name, "layers: .*teacher, teacher weights.* differ too"),
        (other_layers, "layers: "),
        (other_precision, "teacher weights: "),
        (other_pixels, "normalisation: "),
        (lambda cfg, file: (other_seed(cfg), file.unlink()), "seed: 0, this run has 1"),
        (lambda cfg, file: (other_pipeline(cfg), file.unlink()), "pipeline: "),
        (lambda cfg, file: (other_grid(cfg), file.unlink()), "grid: "),
    ],
)
def test_a_teacher_that_is_not_built_is_told_from_another(tmp_path, weights, change, words):
    model, file = weights
    trained(config(tmp_path / "first", epochs=1, model=model))
    cfg = config(tmp_path / "second", epochs=1, model=model)
    change(cfg, file)
    with pytest.raises(ValueError, match=f"(?s)holds maps of another {words}"):
        trained(cfg)


@pytest.mark.parametrize("left", [None, '{"file"', "[1]"])
def test_a_folder_that_says_nothing_of_the_file_needs_the_teacher(tmp_path, weights, left):
    model, file = weights
    trained(config(tmp_path / "first", model=model))
    says = tmp_path / "maps" / "teacher.json"
    written = says.read_text()
    says.unlink() if left is None else says.write_text(left)
    assert trained(config(tmp_path / "second", model=model)).model._teacher.module.built
    assert says.read_text() == written
    (tmp_path / "maps" / "key.json").write_text("{}")  # of another run, with a key of its own
    file.unlink()
    with pytest.raises(FileNotFoundError, match="teacher.pth': no such file"):
        trained(config(tmp_path / "third", model=model))


def resumable(work_dir, maps, by_epoch=True):
    cfg = config(work_dir, maps, views=3, epochs=5)
    cfg.model.backbone["drop_path_rate"] = 0.2
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1, by_epoch=by_epoch)
    if not by_epoch:
        cfg.train_cfg = dict(by_epoch=False, max_iters=10)
        cfg.train_dataloader.sampler = dict(type="InfiniteSampler", shuffle=True)
        cfg.train_dataloader.update(num_workers=2, persistent_workers=True)
        cfg.default_hooks.checkpoint.interval = 4
    return cfg


@HOOKS.register_module(force=True)
class BreakHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 5:  # the second step of the third epoch: a third view of each image
            raise ZeroDivisionError


@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_run_that_was_broken_off_ends_as_an_unbroken_one(tmp_path, by_epoch):
    saved = "epoch_{}.pth" if by_epoch else "iter_{}.pth"
    last, not_yet = (5, 3) if by_epoch else (10, 8)
    Runner.from_cfg(protected(resumable(tmp_path / "unbroken", "unbroken", by_epoch))).train()
    broken = resumable(tmp_path / "broken", "broken", by_epoch)
    broken.default_hooks.stop = dict(type="BreakHook")
    with pytest.raises(ZeroDivisionError):
        Runner.from_cfg(protected(broken)).train()
    assert not (tmp_path / "broken" / saved.format(not_yet)).exists()
    resumed = resumable(tmp_path / "broken", "broken", by_epoch)
    resumed.resume = True
    runner = Runner.from_cfg(protected(resumed))
    runner.train()
    ends = [load_as_data(str(tmp_path / n / saved.format(last))) for n in ("unbroken", "broken")]
    for key, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][key]), key
    assert runner.model._kept.passes == 0  # all three views had been kept
