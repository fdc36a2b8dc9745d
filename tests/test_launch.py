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
from aal_plugin.mm.runs.protection import protected

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


def test_two_ranks_with_half_the_batch_each_end_as_one_rank_with_the_whole(tmp_path):
    """Invariant 5, through tools/dist_train.sh on gloo; also at λ = 0, with its unused links."""
    hooks = [
        dict(type="LambdaDecayHook", gammas=(0.5,), stop_epoch=1, head=head)
        for head in ("link_head", "transfer_head")
    ]
    transfer = dict(type="GradientTransferHead", kind="teacher", loss_weight=10.0)
    model = dict(AAL, transfer_head=transfer, teacher=dict(TEACHER, num_classes=10))
    for ranks in (1, 2):
        config = training(tmp_path / str(ranks), model, epochs=2, custom_hooks=hooks)
        config.train_dataloader.sampler.shuffle = False
        config.train_dataloader.batch_size = 10 // ranks
        # SGD: its step is the gradient itself, where Adam's hides the scale.
        config.optim_wrapper.optimizer = dict(type="SGD", lr=0.01)
        if ranks == 1:
            Runner.from_cfg(protected(config)).train()
        else:
            launch("tools/dist_train.sh", dump(config, tmp_path / "two.py"), ranks)
    one, two = (load(tmp_path / name / "epoch_2.pth") for name in ("1", "2"))
    torch.testing.assert_close(one["state_dict"], two["state_dict"], rtol=1e-4, atol=1e-6)


def test_one_line_protects_a_run_of_mmpretrains_own_script(tmp_path):
    """The environment has the usual workaround for MMEngine's checkpoints."""
    config = training(tmp_path / "run", epochs=1)
    Runner.from_cfg(protected(config)).train()
    config = training(tmp_path / "run", epochs=2)
    config.custom_imports.imports.append("aal_plugin.mm.runs.protect")
    launch(
        sys.executable, mmpretrain_script("train").__file__, dump(config, tmp_path / "config.py"),
        "--resume", TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1",
    )  # fmt: skip
    saved = load(tmp_path / "run" / "epoch_2.pth")
    assert "random_states" in saved and saved["meta"]["validated"] is False


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


def test_two_ranks_measure_what_one_does(tmp_path):
    config = training(tmp_path / "run")
    config.val_dataloader.dataset.pipeline = [dict(type="PackInputs", algorithm_keys=["gt_bboxes"])]
    config.default_hooks.attention = dict(type="AttentionInPrediction", rollout=True)
    metrics = [
        dict(type="LocalizationAccuracy"),
        dict(type="LocalizationAccuracy", rollout=True, prefix="rollout"),
        dict(type="Accuracy", topk=(1,)),
    ]
    config.update(test_dataloader=config.val_dataloader, test_evaluator=metrics, test_cfg=dict())
    config.val_dataloader.dataset.num_images = 21  # the second rank has one image twice
    checkpoint, out = tmp_path / "aal.pth", tmp_path / "two.json"
    torch.save(dict(state_dict=build(AAL).state_dict(), meta=dict()), checkpoint)
    path = dump(config, tmp_path / "config.py")
    launch("tools/dist_test.sh", path, checkpoint, 2, "--out-item", "metrics", "--out", out)
    two = json.loads(out.read_text())
    one = Runner.from_cfg(Config(dict(config, load_from=str(checkpoint)))).test()
    assert one == pytest.approx(two) and len(one) == 15 and one["rollout/maxboxacc_30"] > 0
