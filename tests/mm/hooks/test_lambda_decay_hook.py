"""λ in whole runs: by epochs and by iterations, resumed, and where the hook is missing or wrong."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner

from aal_plugin.core import link_weight
from aal_plugin.mm import LambdaDecayHook
from tests.mm.small import AAL, PLAIN, scalars, training

HOOK = dict(type="LambdaDecayHook", gammas=(0.5, 0.1), milestones=(2,))


def run(config):
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def weights(work_dir):
    """λ of every iteration, as the losses have it."""
    lines = [line for line in scalars(work_dir) if "link_distance" in line]
    for line in lines:
        expected = line["link_weight"] * line["link_distance"]
        assert line["loss_link"] == pytest.approx(expected, rel=1e-3)
    return [line["link_weight"] for line in lines]


def by_iteration(work_dir, iterations, sampler, batch_size=10, **changes):
    """40 images, no validation, a checkpoint every three iterations."""
    config = training(
        work_dir,
        train_cfg=dict(by_epoch=False, max_iters=iterations),
        val_cfg=None,
        val_dataloader=None,
        val_evaluator=None,
        default_hooks=dict(
            logger=dict(type="LoggerHook", interval=1),
            checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=3),
        ),
        log_processor=dict(by_epoch=False, window_size=1),
        **changes,
    )
    config.train_dataloader.batch_size = batch_size
    config.train_dataloader.sampler = dict(type=sampler, shuffle=True)
    return config


WEIGHTS = [  # the loop, its sampler and batch; the hook's settings; λ of every iteration, by hand
    ("epochs 4", HOOK, [2000] * 4 + [1000] * 4 + [500] * 4 + [50] * 4),
    ("DefaultSampler 16", HOOK, [2000] * 4 + [1000] * 4 + [500] * 4 + [50] * 4),
    ("InfiniteSampler 16", HOOK, [2000] * 4 + [1000] * 4 + [500] * 4 + [50] * 4),
    # 40 images in batches of 16: 2.5 iterations an epoch, or three, the last with 8 images
    ("InfiniteSampler 8 16", HOOK, [2000] * 3 + [1000] * 2 + [500] * 3),
    ("DefaultSampler 8 16", HOOK, [2000] * 3 + [1000] * 3 + [500] * 2),
    ("epochs 2", dict(gammas=0.5), [2000] * 4 + [1000] * 4),
    ("epochs 3", dict(gammas=1.0, start_epoch=1), [0] * 4 + [2000] * 8),
    ("epochs 3", dict(gammas=1.0, stop_epoch=1), [2000] * 4 + [0] * 8),
    ("DefaultSampler 8", dict(gammas=1.0, stop_epoch=1), [2000] * 4 + [0] * 4),
    (
        "epochs 3",
        dict(gammas=1.0, start_epoch=1, warmup_epochs=1),
        [0] * 4 + [1000] * 4 + [2000] * 4,
    ),
    # λ of the paper's epochs 0, 100 and 200
    *(
        (
            loop,
            dict(final=0.99**200 * 0.98**100),
            [2000 * 0.99**n for n in (0, 100, 200) for _ in range(4)],
        )
        for loop in ("epochs 3", "InfiniteSampler 12")
    ),
]


@pytest.mark.parametrize(("loop", "settings", "wanted"), WEIGHTS)
def test_weight_of_every_iteration(tmp_path, loop, settings, wanted):
    """And the teacher is run where λ is not 0."""
    kind, length, *batch = loop.split()
    hooks = dict(custom_hooks=[dict(settings, type="LambdaDecayHook")])
    if kind == "epochs":
        config = training(tmp_path, epochs=int(length), **hooks)
    else:
        config = by_iteration(tmp_path, int(length), kind, *map(int, batch), **hooks)
    runner, calls = Runner.from_cfg(config), []
    runner.model.teacher.register_forward_hook(lambda *_: calls.append(runner.iter))
    runner.train()
    given = [line["link_weight"] for line in scalars(tmp_path) if "lr" in line]
    assert given == pytest.approx(wanted, rel=1e-6)
    assert calls == [step for step, weight in enumerate(wanted) if weight]
    with_distance = weights(tmp_path)  # not before λ starts
    assert with_distance == given[-len(with_distance) :] and len(with_distance) >= len(calls)


def test_ranks_share_the_images_of_an_endless_sampler(tmp_path, monkeypatch):
    """Two ranks with batches of 10 have seen 40 images after two iterations."""
    monkeypatch.setattr("aal_plugin.mm.hooks.lambda_decay_hook.get_world_size", lambda: 2)
    run(by_iteration(tmp_path, 6, "InfiniteSampler"))
    assert weights(tmp_path) == [2000] * 2 + [1000] * 2 + [500] * 2


def test_data_without_a_length_cannot_be_counted(tmp_path, monkeypatch):
    runner = Runner.from_cfg(by_iteration(tmp_path, 4, "DefaultSampler"))
    monkeypatch.delattr(DefaultSampler, "__len__")
    with pytest.raises(ValueError, match="ShapesDataset, which has no length"):
        runner.train()


def test_final_is_reached_at_the_end_of_iterations_that_fill_no_whole_epoch(tmp_path):
    """Ten iterations are 2.5 epochs; what comes on top keeps `final`."""
    hook = dict(type="LambdaDecayHook", final=0.04)
    runner = run(by_iteration(tmp_path, 10, "InfiniteSampler", custom_hooks=[hook]))
    (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == "LambdaDecayHook")
    ends = [link_weight(epoch, 1.0, *hook.schedule) for epoch in (2, 3, 9)]
    assert ends[0] > 0.04 and ends[1:] == pytest.approx([0.04, 0.04])


@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_resumed_run_has_the_weights_of_an_unbroken_one(tmp_path, by_epoch):
    """Half of λ at first; after three of four epochs γ = 0.99's share of the whole decay."""
    hooks = [dict(type="LambdaDecayHook", final=0.02, warmup_epochs=1)]
    for resume in (False, True):
        if by_epoch:
            config = training(tmp_path, epochs=4, custom_hooks=hooks)
        else:
            config = by_iteration(tmp_path, 16, "InfiniteSampler", custom_hooks=hooks)
        config.resume = resume
        config.load_from = str(tmp_path / f"{'epoch_3' if by_epoch else 'iter_9'}.pth")
        config.load_from = config.load_from if resume else None
        run(config)
    unbroken, resumed = weights(tmp_path)[:16], weights(tmp_path)[16:]
    assert resumed == unbroken[-len(resumed) :] and len(resumed) == (4 if by_epoch else 7)
    share = 200 * math.log(0.99) / (200 * math.log(0.99) + 100 * math.log(0.98))
    assert unbroken[0] == 1000.0
    assert unbroken[-1] == pytest.approx(2000.0 * 0.02**share, rel=1e-6)


def test_hooks_imports_and_settings_of_a_base_survive(tmp_path):
    """The README's snippet on top of a lab's config that has hooks and imports of its own."""
    (tmp_path / "labs_hooks.py").write_text(
        """
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class LabsHook(Hook):
    calls = []

    def after_train_epoch(self, runner):
        self.calls.append(runner.epoch)
"""
    )
    base = training(tmp_path / "run", PLAIN)
    base.custom_imports = dict(imports=["labs_hooks"], allow_failed_imports=False)
    base.custom_hooks = [dict(type="EMAHook", momentum=0.1), dict(type="LabsHook")]
    base.default_hooks.checkpoint = dict(type="CheckpointHook", interval=2)
    base.dump(tmp_path / "base.py")
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    snippet = re.search(
        r"## Add it to your MMPretrain config\n\n```python\n(.*?)```", readme, re.S
    )[1]
    for shown, small in (
        ("mmpretrain::deit/deit-small_4xb256_in1k.py", "./base.py"),
        ('model_name="efficientnet_b3", pretrained=True', "**TEACHER"),
        ("final=0.05", "gammas=(0.5, 0.1), milestones=(2,)"),
    ):
        assert snippet.count(shown) == 1
        snippet = snippet.replace(shown, small)
    teacher = {key: value for key, value in AAL["teacher"].items() if key != "type"}
    (tmp_path / "lab.py").write_text(snippet.replace("**TEACHER", f"**{teacher}"))
    script = tmp_path / "train.py"  # a lab's own, which knows nothing of the plugin
    script.write_text(
        """
import sys
from mmengine.config import Config
from mmengine.runner import Runner

runner = Runner.from_cfg(Config.fromfile(sys.argv[1]))
runner.train()
import labs_hooks
print("calls", labs_hooks.LabsHook.calls, [type(hook).__name__ for hook in runner.hooks])
"""
    )
    # The lab's folder is on the path for its own module, the plugin as if it were installed.
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "lab.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "calls [0, 1]" in done.stdout
    assert "EMAHook" in done.stdout and "LambdaDecayHook" in done.stdout
    assert weights(tmp_path / "run") == [2000] * 4 + [1000] * 4
    assert [path.name for path in (tmp_path / "run").glob("*.pth")] == ["epoch_2.pth"]


def test_hook_without_a_link_head_stops_before_training(tmp_path):
    runner = Runner.from_cfg(training(tmp_path, PLAIN, custom_hooks=[HOOK]))
    with pytest.raises(ValueError, match="LambdaDecayHook needs a link head, and ImageClassifier"):
        runner.train()
    assert not list(tmp_path.glob("*.pth"))


def test_two_hooks_for_one_head_stop_before_training(tmp_path):
    runner = Runner.from_cfg(training(tmp_path, custom_hooks=[HOOK, dict(HOOK, head="link_head")]))
    with pytest.raises(ValueError, match="two LambdaDecayHooks set the weight of model.link_head"):
        runner.train()
    assert not list(tmp_path.glob("*.pth"))


@pytest.mark.parametrize(("hooks", "warnings"), [([], 1), ([dict(HOOK, gammas=1.0)], 0)])
def test_links_without_a_hook_warn_once(tmp_path, hooks, warnings):
    for hook in hooks:
        hook.pop("milestones")
    run(training(tmp_path, custom_hooks=hooks, log_level="WARNING"))
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert log.count("model.link_head.loss_weight (λ) stays 2000 in every epoch") == warnings
    assert weights(tmp_path) == [2000] * 8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(gammas=(0.99, 0.98)), r"LambdaDecayHook.gammas=\(0.99, 0.98\), milestones=\(\)"),
        (dict(gammas=float("nan")), r"gammas=\(nan,\).*every gamma must be a number in \[0, 1\]"),
        (dict(), "LambdaDecayHook.gammas is missing, and final=None; set final=0.02"),
        (dict(gammas=0.9, final=0.1), "LambdaDecayHook.final=0.1 and gammas=0.9 exclude"),
        (dict(milestones=(2,), final=0.1), r"final=0.1 and milestones=\(2,\) exclude"),
        (dict(final=0), "LambdaDecayHook.final=0; choose a number above 0 and at most 1"),
        (dict(final=0.1, warmup_epochs=-1), "LambdaDecayHook.warmup_epochs=-1; choose a whole"),
        (dict(gammas=0.9, stop_epoch=1.5), "LambdaDecayHook.stop_epoch=1.5; choose a whole number"),
    ],
)
def test_hook_settings_that_do_not_fit_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        LambdaDecayHook(**settings)
