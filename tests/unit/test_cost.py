"""What a study costs: the estimate of its time, the table of it, and the program."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from timed_study import DIGITS, ROOT, SCHEMA, finish, load, node

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.running import cost, progress, reports, speeds
from bayesian_lottery.running.speeds import Measured, Speed
from bayesian_lottery.study import Node, configuration, datasets
from bayesian_lottery.study.datasets import Undecoded

pytestmark = pytest.mark.slow


@pytest.fixture
def loaded(tmp_path, monkeypatch) -> tuple[dict, list[Node]]:
    monkeypatch.chdir(tmp_path)
    return load()


def test_nothing_measured(loaded):
    config, nodes = loaded
    found = cost.estimate(config, nodes)
    assert found.device == "gpu" and found.measured == Measured()
    assert [item.measured for item in found.items] == [False] * len(found.items)
    assert len(found.items) == 1 + 1 + 7 and not any(item.done for item in found.items)
    text = reports.of_estimate(found, [1])
    assert "Published: minutes a level" in text and "resnet20 12 and 33" in text
    assert "Assumed" not in text and "Measured" not in text


def test_a_rate_of_ones_own_replaces_the_published_times(loaded):
    config, nodes = loaded
    text = reports.of_estimate(cost.estimate(config, nodes, tflops=3.0), [1])
    assert "Assumed: 3 TFLOP/s" in text and "Published" not in text


def test_a_pools_time_is_not_called_measured_where_nothing_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config/montecarlo.yaml", "study.yaml")
    found = cost.estimate(*configuration.load(["study.yaml"], [], SCHEMA))
    assert any(item.job.node and item.job.node.branch == "chains" for item in found.items)
    assert not any(item.measured for item in found.items)


def test_measured_kinds_are_those_of_the_results_and_the_rest_is_counted(loaded):
    config, nodes = loaded
    for level, an_epoch in ((0, 10.0), (1, 30.0), (2, 20.0)):
        finish(config, node(nodes, "bayesian", level), an_epoch, 1e-3)
    found = cost.estimate(config, nodes)
    assert found.device == "cpu" and found.measured.threads == 2
    assert found.measured.start == pytest.approx(5)
    # The median of 10, 30 and 20 an epoch; a transplant trains as a Bayesian network does.
    tests = speeds.evaluated(study.node_settings(config, node(nodes, "bayesian", 0)), DIGITS)
    expected = pytest.approx(5 + 4 * 20 + 1e-3 * tests)
    by_stage = {item.job.stage: item for item in found.items}
    assert by_stage["trunks, bayesian"].seconds == expected
    assert by_stage["branches, transplant_trained"].seconds == expected
    assert by_stage["branches, transplant_trained"].measured
    assert not by_stage["trunks, deterministic"].measured
    assert found.speed.tflops == 2 * speeds.CORE.tflops
    text = reports.of_estimate(found, [1])
    assert "measured (4), assumed (3)" in text and "on AMD EPYC, 2 thread(s) a job" in text


def test_measured_on_most_of_the_devices_or_on_the_one_asked_for(loaded):
    config, nodes = loaded
    finish(config, node(nodes, "bayesian", 0), 9.0, 1e-3, device="AMD EPYC")
    for level in (1, 2):
        finish(config, node(nodes, "bayesian", level), 1.0, 1e-3, device="NVIDIA H200")
    assert cost.estimate(config, nodes).measured.device == "NVIDIA H200"
    on_cpu = cost.estimate(config, nodes, device="cpu")
    assert on_cpu.measured.device == "AMD EPYC"
    assert cost.estimate({**config, "device": "cpu"}, nodes).measured == on_cpu.measured
    besides = speeds.published("resnet20").step_seconds
    assert cost.estimate(config, nodes, tflops=3.0).speed == Speed(3.0, besides)
    assert cost.estimate(config, nodes).speed is None


def test_done_are_results_of_todays_settings(loaded):
    config, nodes = loaded
    finish(config, node(nodes, "deterministic", 0), 1.0, 1e-3)
    finish(config, node(nodes, "bayesian", 0), 1.0, 1e-3, prune_fraction=0.9)
    found = cost.estimate(config, nodes)
    assert [item.job.node for item in found.items if item.done] == [node(nodes, "deterministic", 0)]
    assert found.stale == 1 and len(found.left) == 6
    assert "1 nodes have results of other settings" in reports.of_estimate(found, [1])


def test_everything_done(loaded):
    config, nodes = loaded
    for each in nodes:
        finish(config, each, 1.0, 1e-3)
    text = reports.of_estimate(cost.estimate(config, nodes), [1])
    assert "Everything is trained." in text and "Time left" not in text


def test_the_time_is_the_work_over_the_jobs_or_the_longest_chain(loaded):
    config, nodes = loaded
    found = cost.estimate(config, nodes)
    work = sum(found.left.values())
    assert found.wall(1) == pytest.approx(work)
    # dense -> level 1 -> level 2 of the Bayesian trunk, whose networks take the longest
    assert found.chain == pytest.approx(3 * found.left[node(nodes, "bayesian", 0)])
    assert found.wall(100) == found.chain


def test_a_branch_waits_for_the_weights_that_it_needs():
    dense = Node("digits", "lenet5", "deterministic", "short", 0, None, None, 0)
    level = replace(dense, scorer="magnitude", rewind="imp", level=1)
    trained = replace(level, branch="transplant_trained", replicate=0)
    drawn = replace(level, branch="reinit", replicate=0)
    assert progress.longest_chain({}, {dense: 1, level: 10, trained: 100}) == 111
    assert progress.longest_chain({}, {dense: 1, level: 10, drawn: 100}) == 101
    assert progress.longest_chain({}, {level: 10, drawn: 100}) == 100  # the dense one is done
    assert progress.longest_chain({}, {}) == 0


def test_a_data_set_of_unknown_size_is_refused(loaded):
    config, nodes = loaded
    for path in (Path("pets", label, f"{n}.png") for label in ("cat", "dog") for n in range(5)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    config["datasets"]["digits"] = {"source": "imagefolder", "root": "pets", "validation": 0.1}
    assert datasets.images_of(config, "digits") == Undecoded((1, 8, 8), 2, train=8)
    with pytest.raises(InputError, match=r"snakemake --cores 1 results/data/digits\.safetensors"):
        cost.estimate(config, nodes)


def test_a_model_a_row(loaded):
    config, nodes = loaded
    text = reports.of_estimate(cost.estimate(config, nodes), [1], by="model")
    assert [line.split("  ")[0] for line in text.splitlines()[2:6]] == [
        "data",
        "initial weights",
        "lenet_100_50, deterministic",
        "lenet_100_50, bayesian",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.001, "<0.01"), (0.0123, "0.012"), (1.26, "1.3"), (126.4, "126"), (1e4, "10,000")],
)
def test_numbers(value, text):
    assert reports._number(value) == text


def test_the_papers_study_by_the_script(tmp_path):
    run = subprocess.run(
        [
            *(sys.executable, "scripts/estimate.py", "--configfile", "config/cifar10.yaml"),
            *("--config", f"results={tmp_path}", "--gpus", "4", "--tflops", "10"),
        ],
        cwd=ROOT,
        env={"PYTHONPATH": "src", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "GPU-hours" in run.stdout and "with 4." in run.stdout


def test_what_is_wrong_is_said_in_a_sentence(tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / "scripts/estimate.py", "--configfile", "none.yaml"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: none.yaml: no such file")
