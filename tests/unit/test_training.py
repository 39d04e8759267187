"""Training: that it learns, what it starts from, what it keeps and reports, and how it fails."""

from dataclasses import replace

import pytest
import torch
from noisy_patterns import CURRICULUM, NODE, outputs, prepare, run, settings

from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json, read_tensors
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.branches import BRANCHES, WEIGHTS, Branch, Weights
from bayesian_lottery.training import evaluation, jobs, loop, records
from bayesian_lottery.training.curricula import Curriculum

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("inputs"))


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
