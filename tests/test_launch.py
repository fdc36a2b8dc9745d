"""The launchers as a user types them, in processes of their own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from aal_plugin.mm.launch import mmpretrain_script
from aal_plugin.mm.runs.as_data import load_as_data

from .mm.runs.test_as_data import Made
from .mm.small import AAL, TEACHER, build, training

ROOT = Path(__file__).resolve().parents[1]


def test_every_tool_can_be_typed_as_it_stands_in_the_readme():
    files = [path for path in (ROOT / "tools").rglob("*") if path.suffix in (".py", ".sh")]
    tools = [path for path in files if path.read_text(encoding="utf-8").startswith("#!")]
    runnable = [path for path in files if '"__main__"' in path.read_text(encoding="utf-8")]
    bench = ROOT / "tools" / "bench"  # modules of the checkout, for `python -m`
    runnable = [path for path in runnable if path.parent != bench]
    assert len(tools) > 10 and set(runnable) <= set(tools)
    assert not [path.name for path in tools if not os.access(path, os.X_OK)]


def environment(**extra):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return dict(
        os.environ, PORT=port, PYTHON=sys.executable, PYTHONPATH=os.pathsep.join(paths), **extra
    )


def launch(*command, ok=True, cwd=ROOT, **extra):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=600,
    )
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, text[-4000:]
    return text


def dump(config, path):
    config.dump(str(path))
    return path


def load(path):
    return load_as_data(str(path))


@pytest.mark.parametrize(
    "heads",
    [
        dict(link_head=AAL["link_head"]),
        dict(transfer_head=dict(type="GradientTransferHead", kind="teacher", loss_weight=10.0)),
    ],
    ids=["links", "gradient"],
)
def test_two_ranks_with_half_the_batch_each_end_as_one_rank_with_the_whole(tmp_path, heads):
    """Invariant 5, through tools/dist_train.sh on gloo; also at λ = 0, with its unused links."""
    schedule = [dict(type="LambdaDecayHook", gammas=(0.5,), stop_epoch=1)]
    model = dict(AAL, link_head=None, teacher=dict(TEACHER, num_classes=10))
    model.update(heads)
    for ranks in (1, 2):
        config = training(tmp_path / str(ranks), model, epochs=2, custom_hooks=schedule)
        config.train_dataloader.sampler.shuffle = False
        # SGD: its step is the gradient itself, where Adam's hides the scale.
        config.optim_wrapper.optimizer = dict(type="SGD", lr=0.01)
        if ranks == 2:
            config.train_dataloader.batch_size = 5
        path = dump(config, tmp_path / f"{ranks}.py")
        launch("tools/dist_train.sh", path, ranks)
    one, two = (load(tmp_path / name / "epoch_2.pth") for name in ("1", "2"))
    torch.testing.assert_close(one["state_dict"], two["state_dict"], rtol=1e-4, atol=1e-6)


def test_two_ranks_test_a_checkpoint(tmp_path):
    path = dump(training(tmp_path / "run", epochs=1), tmp_path / "config.py")
    launch(sys.executable, "tools/train.py", path)
    checkpoint = tmp_path / "run" / "epoch_1.pth"
    config = Config.fromfile(path)
    config.update(
        test_dataloader=config.val_dataloader,
        test_evaluator=config.val_evaluator,
        test_cfg=dict(),
        log_level="INFO",
    )
    path = dump(config, tmp_path / "test.py")
    one = launch(sys.executable, "tools/test.py", path, checkpoint, "--work-dir", tmp_path / "t")
    two = launch("tools/dist_test.sh", path, checkpoint, 2, "--work-dir", tmp_path / "t2")
    top1 = [text.split("accuracy/top1: ")[1].split()[0] for text in (one, two)]
    assert top1[0] == top1[1]


def test_mmpretrains_own_train_script_takes_our_configs_and_one_line_protects_it(tmp_path):
    """The environment has the usual workaround for MMEngine's checkpoints."""
    script = mmpretrain_script("train").__file__
    config = training(tmp_path / "run", epochs=1)
    config.custom_imports.imports.append("aal_plugin.mm.runs.protect")
    command = [sys.executable, script, dump(config, tmp_path / "config.py"), "--work-dir"]
    workaround = dict(TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
    launch(*command, tmp_path / "run", **workaround)
    again = ["--resume", "--cfg-options", "train_cfg.max_epochs=2"]
    launch(*command, tmp_path / "run", *again, **workaround)
    saved = load(tmp_path / "run" / "epoch_2.pth")
    assert "random_states" in saved and saved["meta"]["validated"] is False
    hostile = tmp_path / "hostile.pth"
    torch.save(dict(saved, extra=Made(os.system, (f"touch {tmp_path}/touched",))), hostile)
    text = launch(*command, tmp_path / "other", "--resume", hostile, ok=False, **workaround)
    assert "holds more than weights and plain data" in text
    assert not (tmp_path / "touched").exists()


def test_launchers_tell_their_arguments():
    for script in ("dist_train.sh", "dist_test.sh", "slurm_train.sh"):
        done = subprocess.run([f"tools/{script}"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and "CONFIG" in done.stdout


def test_environment_without_openmmlab_is_told_the_command(tmp_path):
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "hidden = ('mmengine', 'mmcv', 'mmpretrain')\n"
        "u.find_spec = lambda n, *a: None if n in hidden else find(n, *a)\n"
        "import sys; sys.modules.update(dict.fromkeys(hidden))\n"
        "import aal_plugin.core, aal_plugin.data, aal_plugin.analysis.saved_links\n"
        "print(aal_plugin.core.AttentionLinks)\n"
        "try:\n"
        "    import aal_plugin.mm\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    text = launch(sys.executable, "-c", code)
    assert "AttentionLinks" in text
    assert "aal_plugin.mm needs mmengine, mmcv, mmpretrain" in text
    assert "pip install 'aal_plugin[mm]'" in text


def test_two_ranks_measure_the_localisation_of_one(tmp_path):
    config = training(tmp_path / "run", epochs=1)
    config.val_dataloader.dataset.pipeline = [dict(type="PackInputs", algorithm_keys=["gt_bboxes"])]
    config.default_hooks.attention = dict(type="AttentionInPrediction", rollout=True)
    metrics = [
        dict(type="LocalizationAccuracy"),
        dict(type="LocalizationAccuracy", rollout=True, prefix="rollout"),
    ]
    config.update(test_dataloader=config.val_dataloader, test_evaluator=metrics, test_cfg=dict())
    config.val_dataloader.dataset.num_images = 21  # the second rank has one image twice
    checkpoint, out = tmp_path / "aal.pth", tmp_path / "two.json"
    torch.save(dict(state_dict=build(AAL).state_dict(), meta=dict()), checkpoint)
    path = dump(config, tmp_path / "config.py")
    launch("tools/dist_test.sh", path, checkpoint, 2, "--out-item", "metrics", "--out", out)
    two = json.loads(out.read_text())
    one = Runner.from_cfg(Config(dict(config, load_from=str(checkpoint)))).test()
    assert one == pytest.approx(two) and len(one) == 14 and one["rollout/maxboxacc_30"] > 0
