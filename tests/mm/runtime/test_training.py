"""Whole runs of MMEngine's Runner on CPUs: logs, checkpoints, resume, EMA, compile, export."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, Runner
from mmpretrain.registry import MODELS

from aal_plugin.mm.export import export_student
from tests.mm.small import AAL, PLAIN, batch, build, scalars, training

EMA = dict(type="EMAHook", momentum=0.1)


def run(config):
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def load(path):
    return CheckpointLoader.load_checkpoint(str(path), map_location="cpu")


def test_logs_and_visual_backends_show_weight_loss_and_distance(tmp_path):
    run(training(tmp_path, epochs=4))
    lines = [line for line in scalars(tmp_path) if "loss_link" in line]
    assert [line["link_weight"] for line in lines[3::4]] == [2000, 1000, 500, 50]
    for line in lines[::4]:
        expected = line["link_weight"] * line["link_distance"]
        assert line["loss_link"] == pytest.approx(expected, rel=1e-3)
    log = next(tmp_path.glob("*/*.log")).read_text() + str(lines)
    assert all(name in log for name in ("link_weight", "loss_link", "link_distance"))


def test_with_one_seed_the_student_runs_as_it_would_without_a_teacher(tmp_path):
    """The same start, batches, crops, Mixup and dropout: λ = 1e-30 moves no weight."""
    backbone = dict(PLAIN["backbone"], drop_rate=0.2, drop_path_rate=0.2)
    mixup = dict(augments=[dict(type="Mixup", alpha=0.8)])
    head = dict(PLAIN["head"], loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1))
    plain = dict(PLAIN, backbone=backbone, head=head, train_cfg=mixup)
    aal = dict(AAL, **{key: plain[key] for key in ("backbone", "head", "train_cfg")})
    aal["link_head"] = dict(type="AttentionLinkHead", loss_weight=1e-30)
    starts, ends = [], []
    for name, model in dict(plain=plain, aal=aal).items():
        config = training(tmp_path / name, model)
        config.train_dataloader.dataset.pipeline = [
            dict(type="RandomCrop", crop_size=24, padding=4),
            dict(type="PackInputs"),
        ]
        config.train_dataloader.update(num_workers=2)
        # Not AdamW: it divides by the gradient's size, and that of the keys' bias is rounding.
        config.optim_wrapper.optimizer = dict(type="SGD", lr=0.01)
        runner = Runner.from_cfg(config)
        starts.append(_student(runner.model))
        runner.train()
        ends.append(_student(runner.model))
    # The numbers drawn are the same, to the bit; what is computed from them, to rounding.
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert not torch.equal(starts[0]["head.layers.head.bias"], ends[0]["head.layers.head.bias"])
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-6)


def _student(model):
    weights = model.state_dict()
    return {name: weights[name].clone() for name in weights if not name.startswith("link_head")}


def test_checkpoint_is_the_plain_students_and_the_links(tmp_path):
    run(training(tmp_path / "aal", epochs=1, custom_hooks=[EMA, *training("").custom_hooks]))
    run(training(tmp_path / "plain", PLAIN, epochs=1, custom_hooks=[EMA]))
    aal, plain = (load(tmp_path / name / "epoch_1.pth") for name in ("aal", "plain"))
    for part in ("state_dict", "ema_state_dict"):
        extra = set(aal[part]) - set(plain[part])
        assert set(plain[part]) <= set(aal[part])
        assert all("link_head.links." in key for key in extra) and len(extra) == 8
    count = len(plain["optimizer"]["state"])
    assert len(aal["optimizer"]["state"]) == count + 8
    assert aal["meta"]["attention_links"] == dict(ranges=[(1, 3)] * 4, heads=[2, 2, 2])
    sizes = [(tmp_path / name / "epoch_1.pth").stat().st_size for name in ("aal", "plain")]
    links = sum(v.numel() * 4 for k, v in aal["state_dict"].items() if "link_head" in k)
    # Weights, their average and AdamW's two moments; then names and meta.
    assert sizes[0] - sizes[1] < 4 * links + 20_000


@pytest.mark.parametrize("ema", [False, True])
def test_exported_student_loads_strictly_and_gives_the_same_logits(tmp_path, ema):
    config = training(tmp_path, epochs=1, custom_hooks=[EMA, *training("").custom_hooks])
    runner = run(config)
    out = tmp_path / "out" / "student.pth"
    export_student(config, str(tmp_path / "epoch_1.pth"), str(out), ema=ema)
    plain = MODELS.build(Config.fromfile(out.with_suffix(".py")).model)
    assert type(plain).__name__ == "ImageClassifier"
    plain.load_state_dict(load(out)["state_dict"], strict=True)
    ema_hook = next(hook for hook in runner.hooks if type(hook).__name__ == "EMAHook")
    trained = ema_hook.ema_model.module if ema else runner.model
    other = runner.model if ema else ema_hook.ema_model.module
    images, _ = batch()
    with torch.no_grad():
        logits = plain.eval()(images)
        assert torch.equal(logits, trained.eval()(images))
        assert not torch.equal(logits, other.eval()(images))


def test_gradient_accumulation_and_checkpointing_by_config(tmp_path):
    config = training(
        tmp_path,
        epochs=1,
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3), accumulative_counts=2),
        activation_checkpointing=["backbone.layers.0", "backbone.layers.2"],
    )
    runner = run(config)
    untrained = build(AAL).state_dict()
    key = "link_head.links.0.weight"
    assert not torch.equal(runner.model.state_dict()[key], untrained[key])


def test_compiled_training_equals_eager_training(tmp_path):
    sgd = dict(optimizer=dict(type="SGD", lr=1e-3))
    for name, backend in (("eager", False), ("compiled", dict(backend="aot_eager"))):
        run(training(tmp_path / name, epochs=2, optim_wrapper=sgd, compile=backend))
    eager, compiled = (
        load(tmp_path / name / "epoch_2.pth")["state_dict"] for name in ("eager", "compiled")
    )
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_compile_true_trains(tmp_path):
    run(training(tmp_path, epochs=2, compile=True))
    assert (tmp_path / "epoch_2.pth").is_file()


def test_image_size_that_the_patch_does_not_divide_costs_no_checkpoint(tmp_path):
    config = training(tmp_path)
    config.train_dataloader.dataset.size = 20
    with pytest.raises(ValueError, match="images of 20×20 pixels: the student's patch of 8×8"):
        run(config)
    assert not list(tmp_path.glob("*.pth"))
