"""Jobs that are broken off: what they resume from, signals, and one job alone in its folder."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from noisy_patterns import NODE, numbers, outputs, prepare, run, settings

from bayesian_lottery.files import read_json, read_tensors
from bayesian_lottery.inference.variational import ESTIMATORS
from bayesian_lottery.training import checkpoints, evaluation, jobs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize(
    ("inference", "estimator"), [("deterministic", None), *(("bayesian", e) for e in ESTIMATORS)]
)
@pytest.mark.parametrize("model", ["lenet_100_50", "resnet8_slim", "vit_nano"])
def test_a_run_broken_off_anywhere_resumes_bit_for_bit(
    inputs, tmp_path, monkeypatch, model, inference, estimator
):
    options = settings(model, inference, epochs=2)
    if estimator:
        options["bayesian"]["estimator"] = estimator
    run(inputs, tmp_path / "whole", options)

    save, saved = checkpoints.save, []

    def save_and_die(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) in (3, 9, 10):
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", save_and_die)
    (tmp_path / "broken").mkdir()
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(inputs, tmp_path / "broken", options, checkpoint_seconds=0)
        assert not (tmp_path / "broken/metrics.json").exists()
    run(inputs, tmp_path / "broken", options, checkpoint_seconds=0)
    assert numbers(tmp_path / "broken") == numbers(tmp_path / "whole")
    assert len(read_json(tmp_path / "broken/metrics.json")["cost"]["resumed_at_steps"]) == 3
    assert not (tmp_path / "broken/checkpoint.safetensors").exists()


def test_a_checkpoint_of_another_device_is_used_and_said(inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "final", lambda *a: 1 / 0)
    with monkeypatch.context() as elsewhere, pytest.raises(ZeroDivisionError):
        elsewhere.setattr(checkpoints.devices, "name", lambda device: "another processor")
        run(inputs, tmp_path, settings(), checkpoint_seconds=0)
    monkeypatch.undo()
    capsys.readouterr()
    run(inputs, tmp_path, settings())
    said = capsys.readouterr().out
    assert "the checkpoint is of another processor, this is" in said and "resuming at step" in said


def test_a_checkpoint_of_other_settings_is_not_used(inputs, tmp_path, monkeypatch, capsys):
    options = settings()
    monkeypatch.setattr(evaluation, "final", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(inputs, tmp_path, options, checkpoint_seconds=0)
    monkeypatch.undo()
    assert (tmp_path / "checkpoint.safetensors").exists()
    other = settings(learning_rate=1e-3)
    run(inputs, tmp_path, other)
    assert "other settings, inputs or device" in capsys.readouterr().out
    run(inputs, tmp_path / "fresh", other)
    assert numbers(tmp_path) == numbers(tmp_path / "fresh")


def test_a_truncated_checkpoint_is_not_used(inputs, tmp_path, capsys):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half a file")
    run(inputs, tmp_path, settings(epochs=1))
    assert "truncated" in capsys.readouterr().out
    assert (tmp_path / "metrics.json").exists()


def command(inputs, folder, options):
    model = options["model"]
    start = {"data": inputs / "data", "initial": inputs / model, "mask": inputs / f"{model}.mask"}
    out = {name: value for name, value in vars(outputs(folder)).items() if value}
    return [
        sys.executable,
        ROOT / "scripts/train.py",
        *("--tasks", json.dumps([{"node": NODE, "settings": options}])),
        *("--files", json.dumps([{"inputs": start, "outputs": out}], default=str)),
        *("--device", "cpu", "--checkpoint-seconds", "0.2"),
    ]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_signals_and_kills(inputs, tmp_path):
    """SIGUSR1 saves and goes on, SIGTERM saves and stops, SIGKILL loses little; same numbers."""
    options = settings("resnet8_slim", epochs=30)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = [
        str(part).replace("0.2", "1000") if part == "0.2" else part
        for part in command(inputs, tmp_path / "whole", options)
    ]
    subprocess.run(whole, check=True, env=environment, capture_output=True)

    broken = command(inputs, tmp_path / "broken", options)
    checkpoint = tmp_path / "broken/checkpoint.safetensors"
    (tmp_path / "broken").mkdir()
    steps = []
    for number, expected in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        job = subprocess.Popen(broken, env=environment, stdout=subprocess.DEVNULL)
        wait_for(lambda b=before: checkpoint.exists() and checkpoint.stat().st_mtime_ns > b)
        job.send_signal(number)
        assert job.wait(60) == expected
        assert not (tmp_path / "broken/metrics.json").exists()
        steps.append(read_tensors(checkpoint)[1]["step"])
    assert 0 < steps[0] < steps[1]

    lazy = [part if part != "0.2" else "1000" for part in broken]
    job = subprocess.Popen(lazy, env=environment, stdout=subprocess.PIPE, text=True)
    assert "training on" in job.stdout.readline()
    assert "resuming" in job.stdout.readline()  # the handlers are in place a moment later
    time.sleep(0.5)
    saved = checkpoint.stat().st_mtime_ns
    job.send_signal(signal.SIGUSR1)
    wait_for(lambda: not checkpoint.exists() or checkpoint.stat().st_mtime_ns > saved)
    job.communicate()
    assert job.returncode == 0
    assert numbers(tmp_path / "broken") == numbers(tmp_path / "whole")


def test_a_job_waits_for_another_one_in_its_folder(tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from bayesian_lottery.training.jobs import alone\n"
        "with alone(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "in\n"
    entered = threading.Event()

    def enter():
        with jobs.alone(tmp_path):
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    assert not entered.wait(0.5)
    other.kill()
    assert entered.wait(10)
