"""Processes that are told to end, or whose parent is gone."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.config import Config

from aal_plugin.mm.launch import mmpretrain_script

from .mm.small import training
from .test_launch import ROOT, dump, environment, launch, load


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def processes(words):
    """The processes whose command line holds these words."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if words in command and int(entry) != os.getpid():
            found.append(int(entry))
    return found


def hear_ctrl_c():
    """A shell starts what runs in the background deaf to SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def long_run(tmp_path, **changes):
    config = training(tmp_path / "run", epochs=10_000, log_level="INFO", **changes)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=100_000)
    config.train_cfg.val_interval = 100_000
    return dump(config, tmp_path / "long.py")


def catches(process, number):
    """Whether a process has a handler of its own for a signal."""
    with open(f"/proc/{process}/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def training_lines(path):
    return path.exists() and "Epoch(train)" in path.read_text(errors="replace")


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes in /proc")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_runs_of_compare_end_with_it(tmp_path, number):
    config = long_run(tmp_path)
    command = [sys.executable, ROOT / "tools" / "compare.py", config, "--seeds", "0", "--work-dir"]
    with open(tmp_path / "compare.log", "w") as log:
        parent = subprocess.Popen(
            [*map(str, command), str(tmp_path / "compare")],
            env=environment(), stdout=log, stderr=log, cwd=ROOT, preexec_fn=hear_ctrl_c,
        )  # fmt: skip
    folder = tmp_path / "compare" / "long" / "seed0"
    wait_for(lambda: training_lines(folder / "train.log") or parent.poll() is not None)
    assert parent.poll() is None, (tmp_path / "compare.log").read_text()
    parent.send_signal(number)
    parent.wait(timeout=60)
    wait_for(lambda: not processes(str(folder)), 60)


SIGNALLED = [
    ("the group", 1, 2),
    ("the launcher", 2, 2),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [
            ("the process", 1, 0),
            ("the process", 1, 2),
            ("the group", 1, 0),
            ("the launcher", 2, 0),
            ("the group", 2, 2),
            ("every process", 2, 2),
            ("MMPretrain's own script", 1, 2),
        ]
    ),
]


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes in /proc")
@pytest.mark.parametrize(("whom", "ranks", "workers"), SIGNALLED)
def test_a_signal_to_any_process_saves_and_ends_with_status_75(tmp_path, whom, ranks, workers):
    config = Config.fromfile(long_run(tmp_path))
    config.train_dataloader.num_workers = workers
    command = [sys.executable, ROOT / "tools" / "train.py", tmp_path / "long.py"]
    if whom == "MMPretrain's own script":
        config.custom_imports.imports.append("aal_plugin.mm.runs.protect")
        command[1] = mmpretrain_script("train").__file__
    elif ranks > 1:
        command = [ROOT / "tools" / "dist_train.sh", tmp_path / "long.py", ranks]
    dump(config, tmp_path / "long.py")
    with open(tmp_path / "log", "w") as log:
        parent = subprocess.Popen(
            list(map(str, command)),
            env=environment(), stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: training_lines(tmp_path / "log") or parent.poll() is not None)
        if whom == "the group":
            os.killpg(parent.pid, signal.SIGTERM)
        elif whom == "every process":
            for process in processes(str(tmp_path / "long.py")):
                os.kill(process, signal.SIGTERM)
        else:
            parent.send_signal(signal.SIGTERM)
        assert parent.wait(timeout=120) == 75, (tmp_path / "log").read_text()[-3000:]
        saved = load(tmp_path / "run" / "interrupted.pth")
        assert saved["meta"]["iter"] > 0 and len(saved["random_states"]["ranks"]) == ranks
        wait_for(lambda: not processes(str(tmp_path / "long.py")), 60)
    finally:
        for process in processes(str(tmp_path / "long.py")):
            os.kill(process, signal.SIGKILL)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes in /proc")
@pytest.mark.parametrize(
    "when",
    [
        "in the imports",
        pytest.param("in the launcher's imports", marks=pytest.mark.slow),
        pytest.param("while building", marks=pytest.mark.slow),
    ],
)
def test_a_signal_before_the_first_step_ends_with_status_75_too(tmp_path, when):
    config = long_run(tmp_path)
    command = [sys.executable, ROOT / "tools" / "train.py", config]
    if when == "in the launcher's imports":
        command = [ROOT / "tools" / "dist_train.sh", config, 2]
    parent = subprocess.Popen(
        list(map(str, command)), env=environment(), cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if when == "while building":
        wait_for(lambda: list((tmp_path / "run").glob("*/*.log")) or parent.poll() is not None)
    wait_for(lambda: catches(parent.pid, signal.SIGTERM))
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=120) == 75
    wait_for(lambda: not processes(str(config)), 60)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes in /proc")
def test_ranks_of_a_killed_torchrun_end(tmp_path):
    config = long_run(tmp_path)
    with open(tmp_path / "log", "w") as log:
        parent = subprocess.Popen(
            [str(ROOT / "tools" / "dist_train.sh"), str(config), "2"],
            env=environment(), stdout=log, stderr=log,
        )  # fmt: skip
    wait_for(lambda: training_lines(tmp_path / "log") or parent.poll() is not None)
    assert len(processes(str(config))) >= 3
    parent.kill()  # the shell has become torchrun
    parent.wait()
    wait_for(lambda: not processes(str(config)), 60)
    assert (tmp_path / "run" / "interrupted.pth").exists()


@pytest.mark.slow
def test_one_rank_gets_the_signal_and_both_stop_at_the_same_step(tmp_path):
    hook = dict(signalled=dict(type="SignalOneRank", step=5))
    (tmp_path / "signal_one_rank.py").write_text(
        """
import os, signal
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class SignalOneRank(Hook):
    def __init__(self, step):
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step and get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
"""
    )
    runs = {}
    for name, stopped in (("unbroken", False), ("stopped", True)):
        config = training(tmp_path / name, epochs=4, images=80)
        config.train_dataloader.batch_size = 5  # eight steps an epoch
        if stopped:
            config.custom_imports.imports.append("signal_one_rank")
            config.default_hooks.update(hook)
        runs[name] = dump(config, tmp_path / f"{name}.py")
    launch("tools/dist_train.sh", runs["unbroken"], 2)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = dict(environment(), PYTHONPATH=os.pathsep.join([str(ROOT), paths]))
    command = [str(ROOT / "tools" / "dist_train.sh"), str(runs["stopped"]), "2"]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=300)
    assert done.returncode == 75 and "exitcode  : 75" in done.stderr, done.stderr[-3000:]
    saved = load(tmp_path / "stopped" / "interrupted.pth")
    assert 8 > saved["meta"]["iter"] % 16 > 0 or saved["meta"]["iter"] > 5
    assert len(saved["random_states"]["ranks"]) == 2
    config = training(tmp_path / "stopped", epochs=4, images=80)
    config.train_dataloader.batch_size = 5
    launch("tools/dist_train.sh", dump(config, tmp_path / "again.py"), 2, "--resume")
    ends = [load(tmp_path / name / "epoch_4.pth")["state_dict"] for name in runs]
    # gloo sums two numbers in either order alike, so the ranks' sum is the same to the bit.
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key


@pytest.mark.slow
def test_two_ranks_resume_with_the_gradients_that_they_had_accumulated(tmp_path):
    for name in ("unbroken", "resumed", "lost"):
        config = training(tmp_path / name, epochs=2)
        config.train_dataloader.batch_size = 5  # four steps an epoch, three to the optimizer's
        sgd = dict(optimizer=dict(type="SGD", lr=0.01), accumulative_counts=3)
        config.optim_wrapper = sgd
        if name != "unbroken":
            saved = load(tmp_path / "unbroken" / "epoch_1.pth")
            if name == "lost":
                del saved["accumulated_gradients"]
            (tmp_path / name).mkdir()
            torch.save(saved, tmp_path / name / "epoch_1.pth")
        resume = [] if name == "unbroken" else ["--resume"]
        launch("tools/dist_train.sh", dump(config, tmp_path / f"{name}.py"), 2, *resume)
    whole, resumed, lost = (
        load(tmp_path / name / "epoch_2.pth")["state_dict"]
        for name in ("unbroken", "resumed", "lost")
    )
    torch.testing.assert_close(resumed, whole, rtol=1e-5, atol=1e-7)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(lost, whole, rtol=1e-5, atol=1e-7)


STAND_INS = {
    # sbatch keeps its options, and runs the script that it reads until it is not requeued.
    "sbatch": """#!/usr/bin/env bash
echo "$@" >> "$STAND_IN/sbatch.asked"
cat > "$STAND_IN/script"
export SLURM_JOB_ID=17
for attempt in 1 2 3; do
    rm -f "$STAND_IN/requeued"
    bash "$STAND_IN/script"; status=$?
    echo $status >> "$STAND_IN/status"
    [ -e "$STAND_IN/requeued" ] || exit $status
done
""",
    # srun sends SIGTERM to the first attempt in its training, as before the end of a job's time.
    "srun": """#!/usr/bin/env bash
echo "$@" >> "$STAND_IN/srun.asked"
while [[ "$1" == -* ]]; do if [ "$1" = -p ]; then shift; fi; shift; done
command=()
for word in "$@"; do [ "$word" = --launcher=slurm ] || command+=("$word"); done
"${command[@]}" > "$STAND_IN/log" 2>&1 & child=$!
if [ ! -e "$STAND_IN/told" ]; then
    touch "$STAND_IN/told"
    until grep -q "Epoch(train)" "$STAND_IN/log"; do sleep 0.05; done
    kill -TERM $child
fi
wait $child
""",
    "scontrol": """#!/usr/bin/env bash
echo "$@" > "$STAND_IN/requeued"
""",
}


def test_a_job_whose_time_is_up_is_requeued_and_resumes_within_the_epoch(tmp_path):
    """With stand-ins for Slurm's commands, which do what its manual says."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    config = training(tmp_path / "run", epochs=1, images=400, log_level="INFO")
    path = dump(config, tmp_path / "config.py")
    launch(
        "tools/slurm_train.sh", "gpus", "test", path, tmp_path / "run",
        PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", STAND_IN=str(tmp_path), REQUEUE="1",
        GPUS="1", GRACE="90",
    )  # fmt: skip
    assert (tmp_path / "status").read_text().split() == ["75", "0"]
    assert (tmp_path / "requeued").exists() is False
    asked = (tmp_path / "sbatch.asked").read_text()
    assert "--requeue" in asked and "--signal=TERM@90" in asked and "--ntasks=1" in asked
    assert (tmp_path / "srun.asked").read_text().count("--resume") == 2
    log = (tmp_path / "log").read_text()  # of the second attempt
    assert "training continues after batch" in log
    assert load(tmp_path / "run" / "epoch_1.pth")["meta"]["iter"] == 40


def test_a_job_without_requeue_hands_all_to_srun_and_is_told_before_its_end(tmp_path):
    (tmp_path / "srun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    text = launch(
        "tools/slurm_train.sh", "gpu", "job", "c.py", "out", "--amp", "--resume",
        PATH=f"{tmp_path}:{os.environ['PATH']}", GPUS="16", SRUN_ARGS="--time=1 --qos=x",
    ).splitlines()  # fmt: skip
    given = {"--ntasks=16", "--gres=gpu:8", "--time=1", "--qos=x", "--work-dir=out"}
    assert {*given, "--signal=TERM@120"} <= set(text)
    assert text[-3:] == ["--launcher=slurm", "--amp", "--resume"]
