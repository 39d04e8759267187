"""The training loop: determinism, resuming, signals, divergence, and that it learns."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json, read_tensors
from bayesian_lottery.inference.variational import ESTIMATORS
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.branches import BRANCHES, WEIGHTS, Branch, Weights
from bayesian_lottery.training import checkpoints, evaluation, jobs, loop, records
from bayesian_lottery.training.curricula import Curriculum

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CURRICULUM = {
    "epochs": 3,
    "optimizer": "adam",
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "batch_size": 32,
    "milestones": [2],
    "gamma": 0.1,
    "warmup_epochs": 1,
    "momentum": 0.9,
}


def settings(model="lenet_100_50", inference="bayesian", **changes):
    scorer = {"bayesian": "snr", "deterministic": "magnitude"}[inference]
    found = {
        "dataset": "blobs",
        "augment": {"flip": True, "crop": 1},
        "validation": 0.2,
        "model": model,
        "inference": inference,
        "curriculum": {**CURRICULUM, **changes},
        "prune_fraction": 0.2,
        "evaluation": {"samples": 2, "passes": 3, "every": 1, "bins": 10, "batch_size": 100},
        "seed": 0,
        "scorer": scorer,
        "rewind": "imp",
        "level": 1,
        "branch": None,
    }
    if inference == "bayesian":
        found["bayesian"] = {
            "samples": 2,
            "heat": 0.1,
            "initial_std": 0.01,
            "prior_std": 1.0,
            "likelihood": "categorical",
        }
    return found


NODE = {"dataset": "blobs", "model": "any", "seed": 0, "level": 1}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A small data set of ten noisy patterns, and initial weights and masks of three models."""
    folder = tmp_path_factory.mktemp("inputs")
    stream = torch.Generator().manual_seed(0)
    patterns = torch.randint(256, (10, 1, 8, 8), generator=stream)

    def split(count):
        labels = torch.arange(count) % 10
        noise = torch.randint(-60, 60, (count, 1, 8, 8), generator=stream)
        return decoded.Split((patterns[labels] + noise).clamp(0, 255).to(torch.uint8), labels)

    train, test = split(400), split(100)
    mean, std = decoded.channel_statistics(train.images)
    classes = tuple("abcdefghij")
    decoded.save(
        folder / "data", decoded.Images("blobs", classes, train, test, mean, std), "made here"
    )
    for model in ("lenet_100_50", "resnet8_slim", "vit_nano"):
        jobs.initialise(folder / "data", model, 0, folder / model)
        shapes = models.prunable(models.build(model, (1, 8, 8), 10, seed=None))
        scores = {name: torch.rand(s, generator=stream) for name, s in shapes.items()}
        masks.save(folder / f"{model}.mask", masks.prune(masks.ones(shapes), scores, 0.5))
    return folder


def outputs(folder):
    return jobs.Outputs(
        folder / "metrics.json",
        folder / "history.csv",
        folder / "weights.safetensors",
        {"snr": folder / "next.safetensors"},
    )


def run(inputs, folder, options, checkpoint_seconds=1000.0):
    model = options["model"]
    out = outputs(folder)
    if options["inference"] == "deterministic":
        out = jobs.Outputs(out.metrics, out.history, out.weights, {"magnitude": folder / "next"})
    start = jobs.Inputs(inputs / "data", inputs / model, inputs / f"{model}.mask")
    jobs.train_nodes([jobs.Task(NODE, options, start, out)], "cpu", checkpoint_seconds)


def numbers(folder):
    """Everything of a run's files that must not depend on interruptions."""
    metrics = read_json(folder / "metrics.json")
    history = (folder / "history.csv").read_text().splitlines()
    columns = history[0].split(",")
    kept = [i for i, c in enumerate(columns) if c not in ("seconds", "peak_memory_bytes")]
    rows = [[line.split(",")[i] for i in kept] for line in history]
    weights = (folder / "weights.safetensors").read_bytes()
    return metrics["results"], metrics["passes"], rows, weights


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


def test_divergence_fails_with_epoch_and_rate_and_leaves_no_result(inputs, tmp_path):
    options = settings(optimizer="sgd", learning_rate=1e12, warmup_epochs=0)
    with pytest.raises(records.Diverged, match=r"epoch 1 at learning rate 1e\+12"):
        run(inputs, tmp_path, options, checkpoint_seconds=0)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_full_device_is_said_in_a_sentence(monkeypatch):
    def fill(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. And so on")

    monkeypatch.setattr(jobs, "train_nodes", fill)
    with pytest.raises(InputError, match=r"\(CUDA out of memory\); lower compute.samples_per_pass"):
        jobs.run_script([], "cuda", 1.0)


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_it_learns_and_reports(inputs, tmp_path, inference):
    options = settings(inference=inference, epochs=30, milestones=[25])
    options["prune_fraction"] = 0.5  # what made the mask
    run(inputs, tmp_path, options)
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["results"]["final"]["accuracy"] > 0.9
    assert metrics["results"]["peak"]["accuracy"] >= metrics["results"]["selected"]["accuracy"]
    assert metrics["density"] == pytest.approx(0.5, abs=0.01)
    assert metrics["survivors"] == sum(layer["survivors"] for layer in metrics["layers"])
    passes = 3 if inference == "bayesian" else 1
    assert len(metrics["passes"]["accuracy"]) == passes
    assert (metrics["passes"]["mutual_information"] is None) == (inference == "deterministic")
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 31
    after = masks.load(next(tmp_path.glob("next*")))
    before = masks.load(inputs / "lenet_100_50.mask")
    kept = masks.survivors(before)
    assert masks.survivors(after) == kept - kept // 2
    assert not any((after[name] & ~before[name]).any() for name in after)


def test_imp_resets_and_lrr_keeps(inputs, tmp_path, monkeypatch):
    """The weights that training starts from, not those that it ends with."""
    started = {}

    def note_the_start(networks, *_):
        started[0] = networks[0].state()
        return [records.Record([{"epoch": 1, **{f"test_{m}": 0.5 for m in evaluation.METRICS}}])]

    monkeypatch.setattr(loop, "train", note_the_start)
    initial, _ = read_tensors(inputs / "lenet_100_50")
    mask = masks.load(inputs / "lenet_100_50.mask")
    trained = {name: tensor + 1 for name, tensor in initial.items()}
    jobs.write_tensors(tmp_path / "previous", trained)
    for rewind, expected in (("imp", initial), ("lrr", trained)):
        options = {**settings(inference="deterministic"), "rewind": rewind}
        out = jobs.Outputs(*(tmp_path / name for name in "mhw"), {})
        start = jobs.Inputs(
            inputs / "data",
            inputs / "lenet_100_50",
            inputs / "lenet_100_50.mask",
            rewind_weights=tmp_path / "previous",
        )
        jobs.train_nodes([jobs.Task(NODE, options, start, out)], "cpu")
        for name, tensor in started[0].items():
            wanted = expected[name] * mask[name] if name in mask else expected[name]
            assert torch.equal(tensor, wanted), name


def test_a_branch_is_one_function_and_one_line(inputs, tmp_path, monkeypatch):
    """What README.md says under "How to add": registered, it trains like any other."""

    def negate(ticket, stream):
        return replace(ticket, weights={n: -tensor for n, tensor in ticket.weights.items()})

    monkeypatch.setitem(WEIGHTS, "negated", Weights(negate))
    monkeypatch.setitem(BRANCHES, "negate", Branch(weights="negated"))
    options = {**settings(inference="deterministic", epochs=1), "branch": "negate"}
    start = jobs.Inputs(inputs / "data", inputs / "lenet_100_50", inputs / "lenet_100_50.mask")
    network = jobs.start(decoded.load(start.data), options, start, ["any"], torch.device("cpu"))
    initial, _ = read_tensors(start.initial)
    assert torch.equal(network.state()["classifier.weight"], -initial["classifier.weight"])
    out = jobs.Outputs(*(tmp_path / name for name in "mhw"), mask=tmp_path / "mask")
    jobs.train_nodes([jobs.Task(NODE, options, start, out)], "cpu")
    assert (tmp_path / "mask").read_bytes() == start.mask.read_bytes()
    assert read_json(tmp_path / "m")["settings"]["branch"] == "negate"


def test_learning_rate_schedule():
    curriculum = Curriculum.of({**CURRICULUM, "epochs": 6, "milestones": [3, 5]})
    rates = [curriculum.learning_rate_at(step, 4) for step in range(24)]
    assert rates[:4] == pytest.approx([3e-3 * k / 4 for k in (1, 2, 3, 4)])
    assert rates[4:12] == [3e-3] * 8
    assert rates[12:20] == pytest.approx([3e-4] * 8)
    assert rates[20:] == pytest.approx([3e-5] * 4)


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_predictions_are_kept_and_give_the_accuracy_of_the_first_pass(inputs, tmp_path, inference):
    options = settings(inference=inference, epochs=1)
    out = outputs(tmp_path)
    out = replace(out, predictions=tmp_path / "p", next_masks={})
    start = jobs.Inputs(inputs / "data", inputs / "lenet_100_50")
    jobs.train_nodes([jobs.Task(NODE, options, start, out)], "cpu")
    tensors, metadata = read_tensors(tmp_path / "p")
    probabilities, test = tensors["probabilities"], decoded.load(start.data).test
    assert probabilities.shape == (len(test), 10) and probabilities.dtype == torch.float16
    assert metadata["node"] == NODE
    torch.testing.assert_close(
        probabilities.float().sum(1), torch.ones(len(test)), atol=5e-3, rtol=0
    )
    accuracy = (probabilities.argmax(1) == test.labels).float().mean().item()
    first = read_json(out.metrics)["passes"]["accuracy"][0]
    assert accuracy == pytest.approx(first, abs=2 / len(test))  # float16 has ties


def test_summaries_pick_the_right_epochs():
    def row(epoch, test, validation):
        values = {f"test_{metric}": 0.0 for metric in evaluation.METRICS}
        return {
            "epoch": epoch,
            **values,
            "test_accuracy": test,
            "validation_accuracy": validation,
        }

    history = [row(1, 0.5, 0.6), {"epoch": 2}, row(3, 0.9, 0.7), row(4, 0.8, 0.8)]
    found = evaluation.summarise(history)
    assert [found[k]["epoch"] for k in ("peak", "final", "selected")] == [3, 4, 4]
    for entry in history:
        entry.pop("validation_accuracy", None)
    assert evaluation.summarise(history)["selected"] is None
