"""tools/gpu.py on a CPU: every part at toy size, and the order, ends and goals of a run."""

import json
import runpy
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aal_plugin.bench.gpu.drawn_images import augmented, draw, normalised
from aal_plugin.bench.gpu.goals import GOALS, as_text, judge
from aal_plugin.bench.gpu.parts import PARTS, run_part
from aal_plugin.bench.gpu.processes import Place, read_report
from aal_plugin.bench.gpu.results import is_done, read_result, write_result
from aal_plugin.bench.gpu.running import Runner
from aal_plugin.bench.gpu.scale import Scale, toy

ROOT = Path(__file__).resolve().parents[2]
TOY = toy("cpu")
# The other benchmark differs from the compiled one in its options alone.
IN_SUITE = [name for name in PARTS if name != "benchmark"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(ROOT, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def results(place):
    """Results of every part, run in this process."""
    folder = place.work / "results"
    succeeded = {name: run_part(name, folder, TOY, place) for name in IN_SUITE}
    found = {name: read_result(folder, name, TOY) for name in IN_SUITE}
    assert all(succeeded.values()), {name: row["error"] for name, row in found.items()}
    return {name: row["result"] for name, row in found.items()}


def test_every_part_runs(results):
    assert results["tests"]["passed"] > 10 and results["tests"]["failed"] == 0
    assert results["benchmark_compiled"]["setting"]["compile"] is True
    assert "/" not in results["benchmark_compiled"]["command"].split("--json")[1]
    for name in ("student", "teacher", "aal"):
        found = results["kernels"][name]
        assert found["launches"] > 100 and found["kernels"][0]["ms"] > 0
    assert results["kernels"]["added"]
    assert results["input"]["workers_needed"] >= 1 and results["input"]["fed"] > 0
    assert len(results["study_plain"]["epochs"]) == TOY.epochs
    weights = [row["link_weight"] for row in results["study_aal"]["epochs"]]
    assert weights[0] == 2000 and weights[1] < weights[0]


def test_figures_of_all_goals_are_found_in_the_parts_that_ran(results):
    rows = judge(results)
    assert len(rows) == len(GOALS)
    for row in rows:
        assert (row["value"] is None) is (row["part"] == "benchmark"), row
    assert "top-1" in as_text(rows, results)


def test_without_results_every_goal_stays_open():
    rows = judge({})
    assert all(row["value"] is None and row["met"] is None for row in rows)
    assert as_text(rows, {}).count("not measured") == len(GOALS) + 3


def test_goals_on_figures_of_the_benchmark():
    seconds = {"aal step": [1.0, 2.0, 4.0], "part: links and distance": [0.1, 0.1, 0.1]}
    steps = {
        name: dict(seconds=seconds.get(name, [1.0]), peak_memory_bytes=taken)
        for name, taken in {
            "student step": 70,
            "teacher forward": 30,
            "aal step": 106,
            "part: links and distance": 1,
        }.items()
    }
    rows = judge(dict(benchmark=dict(steps=steps, overhead_ratio=1.03)))
    found = {row["figure"]: row for row in rows if row["part"] == "benchmark"}
    assert found["links / AAL step"]["value"] == pytest.approx(0.05)
    assert found["AAL step / (student + teacher)"]["met"] is True
    assert found["memory / (student + teacher)"]["met"] is False
    assert found["timm's teacher / ours"]["met"] is None


def runner(folder, bodies, minutes=1.0):
    """A runner whose parts are these lines of Python; WRITE writes a result."""
    write = (
        f"sys.path.insert(0, {str(ROOT)!r});"
        "from pathlib import Path; import json;"
        f"Path({str(folder)!r}, name + '.json').write_text(json.dumps("
        f"dict(state='done', error=None, seconds=1, result={{}}, scale={TOY.as_json()!r})))"
    )

    def command(name):
        body = bodies[name].replace("WRITE", write)
        return [sys.executable, "-S", "-c", f"import sys, time; name = {name!r}; {body}"]

    folder.mkdir(exist_ok=True)
    return Runner(folder, folder / "logs", TOY, command, minutes)


def test_a_part_that_fails_stops_no_other_and_is_run_again(tmp_path, capsys):
    parts = dict(first=1.0, second=1.0, third=1.0)
    bodies = dict(first="WRITE", second="sys.exit('out of memory')", third="WRITE")
    states = runner(tmp_path, bodies).run(parts)
    assert [states[name].split()[0] for name in parts] == ["done", "failed:", "done"]
    assert "out of memory" in states["second"] and not is_done(tmp_path, "second", TOY)
    written = json.loads((tmp_path / "second.json").read_text())
    assert "out of memory" in written["error"] and written["result"] is None
    text = capsys.readouterr().out
    assert "min left" in text and "[2/3] second" in text

    bodies["second"] = "WRITE"
    stamp = (tmp_path / "first.json").stat().st_mtime_ns
    states = runner(tmp_path, bodies).run(parts)
    assert states["first"] == states["third"] == "done in an earlier run"
    assert states["second"].startswith("done in ")
    assert (tmp_path / "first.json").stat().st_mtime_ns == stamp


def test_when_time_is_over_a_part_ends_with_its_children_and_later_ones_wait(tmp_path):
    child = "Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])"
    long = f"from subprocess import Popen; p = {child}; print(p.pid, flush=True); p.wait()"
    bodies = dict(long=long, later="WRITE")
    started = time.monotonic()
    states = runner(tmp_path, bodies, minutes=0.02).run(dict(long=1.0, later=1.0))
    assert time.monotonic() - started < 20
    assert "minutes are over" in states["long"] and states["later"].startswith("not run")
    pid = int((tmp_path / "logs" / "long.log").read_text().split()[0])
    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_the_time_left_follows_the_pace_of_the_parts_that_ran(tmp_path):
    made = runner(tmp_path, {})
    assert made.time_left(elapsed=10, expected=30, later=100) == 120
    made._measured, made._expected = 20.0, 10.0
    assert made.time_left(elapsed=10, expected=30, later=100) == 250


def test_results_of_another_scale_do_not_count(tmp_path):
    write_result(tmp_path, "input", TOY, 1.0, dict(step=1.0))
    assert is_done(tmp_path, "input", TOY)
    assert not is_done(tmp_path, "input", replace(TOY, epochs=3))
    assert not is_done(tmp_path, "input", Scale(device="cpu"))
    (tmp_path / "input.json").write_text('{"part": ')
    assert not is_done(tmp_path, "input", TOY)


def test_report_of_pytest_is_counted(tmp_path):
    (tmp_path / "tests.xml").write_text(
        '<testsuites><testsuite><testcase name="a" time="1.5"/>'
        '<testcase name="b" time="0"><failure message="assert 1 &lt; 0"/></testcase>'
        '<testcase name="c"><skipped message="no"/></testcase></testsuite></testsuites>'
    )
    found = read_report(tmp_path / "tests.xml")
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 1, 1)
    assert found["tests"][1]["message"] == "assert 1 < 0"


def test_drawn_images_of_the_splits_differ_and_are_the_same_on_one_core(monkeypatch):
    train, val = draw("train", 60, 16, "cpu"), draw("val", 60, 16, "cpu")
    assert len({image.numpy().tobytes() for image in (*train.images, *val.images)}) == 120
    monkeypatch.setattr("aal_plugin.bench.gpu.drawn_images.cores", lambda: 1)
    assert torch.equal(draw("train", 60, 16, "cpu").images, train.images)


def test_augmented_images_are_shifted_and_flipped_ones():
    torch.manual_seed(0)
    side = 16
    images = torch.arange(side * side * 3, dtype=torch.int32).view(1, side, side, 3)
    padded = torch.nn.functional.pad(
        images.permute(0, 3, 1, 2).double(), (2, 2, 2, 2), mode="reflect"
    )
    crops = [
        padded[0, :, top : top + side, left : left + side] for top in range(5) for left in range(5)
    ]
    allowed = [crop for original in crops for crop in (original, original.flip(-1))]
    found = augmented(images.expand(64, -1, -1, -1)).permute(0, 3, 1, 2).double()
    which = [next(i for i, crop in enumerate(allowed) if torch.equal(crop, one)) for one in found]
    assert len(set(which)) > 20 and {place % 2 for place in which} == {0, 1}


def test_normalised_images_have_the_given_mean_and_std():
    images = torch.randint(256, (2, 4, 4, 3), dtype=torch.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.3)
    found = normalised(images, mean, std)
    for place in range(3):
        expected = (images[..., place].double() / 255 - mean[place]) / std[place]
        torch.testing.assert_close(found[:, place].double(), expected, rtol=1e-5, atol=1e-5)


def run_tool(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "tools" / "gpu.py"), run_name="__main__")
    return ended.value.code


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "no CUDA device was found, so nothing was measured"),
        (["--device", "cpu"], "--device cpu needs --toy"),
        (["--only", "speed"], "--only ['speed']; choose among ['tests', "),
    ],
)
def test_what_cannot_run_is_an_error_in_one_line(monkeypatch, capsys, options, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run_tool(monkeypatch, *options) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_run_writes_a_summary(monkeypatch, capsys, tmp_path):
    write_result(tmp_path, "study_plain", TOY, 1.0, dict(top1=20.0))
    options = ["--device=cpu", "--toy", "--only=study_plain"]
    assert run_tool(monkeypatch, *options, f"--out={tmp_path}", f"--work={tmp_path}") == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["top1"] == dict(study_plain=20.0)
    assert summary["states"]["study_plain"] == "done" and summary["states"]["input"] == "missing"
    assert "20.0 %" in capsys.readouterr().out
