"""Late rewinding: the dense network's weights at an early step, and the levels that start there."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_study import SmallStudy, interrupted

from bayesian_lottery import study
from bayesian_lottery.computation import VERSION
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors
from bayesian_lottery.running import cost, progress, work
from bayesian_lottery.study import configuration
from bayesian_lottery.tickets.rewinds import Early
from bayesian_lottery.training import jobs, loop, starts
from bayesian_lottery.training.early import write_early
from bayesian_lottery.training.steps import Step

MODEL = "resnet8_slim"  # whose norms have statistics that training moves, too
PER_EPOCH = 160 // 32  # steps: a fifth of 200 images is held out


@pytest.fixture
def small(tmp_path) -> SmallStudy:
    found = SmallStudy(tmp_path)
    found.config["rewinds"] = {"late_3": {"kind": "late", "steps": 3}}
    return found


def make(small: SmallStudy, early: study.Early, seconds: float = 1000) -> Path:
    task, files = (f(small.config, early) for f in (study.early_task, study.early_files))
    inputs = jobs.Inputs(**{k: Path(v) for k, v in files["inputs"].items() if k != "extensions"})
    output = Path(files["outputs"]["weights"])
    write_early(task["node"], task["settings"], task["rewinding"], inputs, output, "cpu", seconds)
    return output


def at_step(small: SmallStudy, node: study.Node, step: int, monkeypatch) -> dict:
    """What the training of a node itself has after a step."""
    networks, states = [], []

    def train(trained, *arguments):
        networks.extend(trained)
        return whole_training(trained, *arguments)

    def take(*arguments):
        totals = whole_step(*arguments)
        states.append(networks[0].state())
        return totals

    whole_step, whole_training = Step.take, loop.train
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", train)
        patch.setattr(Step, "take", take)
        small.train(node)
    return states[step - 1]


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_early_weights_are_those_of_the_dense_training_at_that_step(small, inference, monkeypatch):
    dense = small.node(MODEL, inference)
    expected = at_step(small, dense, 3, monkeypatch)
    early = study.Early(dense, "late_3")
    interrupted(monkeypatch, 2, lambda: make(small, early, seconds=0))
    path = make(small, early)  # from the checkpoint of the second step
    found, metadata = read_tensors(path)
    assert metadata["step"] == 3
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert sorted(file.name for file in path.parent.iterdir()) == [".lock", path.name]
    initial, _ = read_tensors(small.inputs(dense)["initial"])
    assert not torch.equal(initial["classifier.bias"], found.get(
        "classifier.bias", found.get("classifier._bias_mean")))  # fmt: skip


def test_early_weights_do_not_depend_on_how_networks_are_tested(small):
    early = study.Early(small.node(MODEL), "late_3")
    before = study.early_task(small.config, early)
    small.config["evaluation"]["bins"] += 1
    assert study.early_task(small.config, early) == before
    small.config["curricula"][early.node.curriculum]["epochs"] += 1
    assert study.early_task(small.config, early) != before


def test_early_weights_by_another_version_of_the_computation_are_named(small, monkeypatch):
    level = replace(small.node(MODEL, level=1), rewind="late_3")
    path = make(small, study.Early(level.dense, "late_3"))
    assert work.outdated(small.config, {}, [level]) == []
    monkeypatch.setattr(work, "VERSION", VERSION + 1)
    assert work.outdated(small.config, {}, [level]) == [str(path)]


def test_a_step_beyond_an_epoch_passes_its_tests_by(small, monkeypatch):
    small.config["rewinds"]["late_3"]["steps"] = PER_EPOCH + 2
    dense = small.node(MODEL)
    expected = at_step(small, dense, PER_EPOCH + 2, monkeypatch)
    found, _ = read_tensors(make(small, study.Early(dense, "late_3")))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_a_level_starts_from_the_early_weights_under_its_mask(small, inference):
    dense = small.node(MODEL, inference)
    small.train(dense)
    level = replace(small.node(MODEL, inference, level=1), rewind="late_3")
    early = make(small, study.Early(dense, "late_3"))
    assert small.inputs(level)["rewind_weights"] == str(early)
    task = small.task(level)
    images = jobs.decoded.load(task.inputs.data)
    network = starts.start(images, task.settings, task.inputs, ["any"], torch.device("cpu"))
    found, expected = network.state(), read_tensors(early)[0]
    for name, tensor in expected.items():
        layer = next((m for n, m in network.mask.items() if name.replace("_mean", "").replace(
            "_log_std", "").replace("._weight", ".weight") == n), None)  # fmt: skip
        pruned = -torch.inf if "_log_std" in name else 0
        wanted = tensor if layer is None else torch.where(layer, tensor, pruned)
        assert torch.equal(found[name], wanted), name
    small.train(level)
    assert small.path(level, "metrics.json").exists()


def test_what_a_level_is_told_of_its_rewind(small):
    level = small.node(MODEL, level=1)
    told = {name: study.node_settings(small.config, replace(level, rewind=name))
            for name in ("imp", "late", "late_3")}  # fmt: skip
    assert "rewinding" not in told["imp"] and "rewinding" not in told["late"]
    assert told["late_3"]["rewinding"] == {"kind": "late", "steps": 3}
    one_shot = replace(level, rewind="late", search="one_shot")
    assert study.origins(small.config, one_shot)["rewind_weights"].node == level.dense
    assert not study.starts_others(small.config, replace(level, rewind="late"))


def test_the_time_left_counts_early_weights_by_their_share_of_training(small):
    nodes = [small.node(MODEL), replace(small.node(MODEL, level=1), rewind="late_3")]
    status = progress.status(small.config, nodes, {}, lambda settings: 100.0)
    seconds = {bool(job.early): seconds for job, seconds in status.seconds.items() if not job.node}
    assert seconds == {True: pytest.approx(100 * 3 / 10)}
    assert sum(status.seconds.values()) == pytest.approx(100 + 100 + 30)
    assert status.chain == pytest.approx(200), "early weights are made beside the dense network"
    assert status.unknown == 0
    assert progress.status(small.config, nodes, {}, lambda settings: None).unknown == 3


def test_estimates_count_the_jobs_of_early_weights(small):
    nodes = [node for node in small.nodes if node.model == MODEL and not node.branch]
    nodes += [replace(node, rewind="late_3") for node in nodes if node.rewind == "imp"]
    items = cost.estimate(small.config, nodes, device="cpu").items
    early = [item for item in items if item.job.early]
    assert len(early) == 4  # two inferences, two curricula
    for item in early:
        dense = next(i for i in items if i.job.node == item.job.early.node)
        assert item.seconds == pytest.approx(dense.seconds * 3 / 10)
        assert 0 < item.kept < dense.kept
        assert str(item.job.output) == study.early_file(small.config, item.job.early)
    estimated = cost.estimate(small.config, nodes, device="cpu")
    beside = sum(item.seconds for item in early)
    assert estimated.wall(1) == pytest.approx(sum(estimated.left.values()) + beside)


@pytest.mark.parametrize(
    ("given", "step"),
    [
        ({}, 2),  # 1 % of 20 x 8 = 160
        ({"steps": 160}, 160),
        ({"epochs": 0.5}, 4),
        ({"epochs": 3}, 24),
        ({"share": 0.25}, 40),
        ({"share": 1e-9}, 1),
    ],
)
def test_the_step_is_said_in_steps_epochs_or_a_share(given, step):
    assert Early(**given).step(epochs=20, per_epoch=8) == step


def test_steps_beyond_training_are_refused(small):
    small.config["rewinds"]["late_3"]["steps"] = 11
    with pytest.raises(InputError, match="step 11 lies beyond 10, the last step of training"):
        make(small, study.Early(small.node(MODEL), "late_3"))


@pytest.mark.parametrize(
    "names",
    [
        {"rewinds": {"late_mine": {"kind": "late"}}, "searches": {"mine": {"kind": "early"}}},
        {"searches": {"mine": {"kind": "early"}}, "rankings": {"mine": {"kind": "global"}}},
        {"searches": {"mine_units": {"kind": "early"}}},
        {"searches": {"mine_x": {"kind": "early"}}, "rankings": {"x": {"kind": "global"}}},
    ],
)
def test_names_by_which_two_trunks_would_share_a_folder_are_refused(small, names):
    small.config |= names
    with pytest.raises(InputError, match="a folder's name would not tell it from"):
        configuration.validate(small.config)


@pytest.mark.parametrize(
    ("rewinds", "sentence"),
    [
        ({"x": {"kind": "later"}}, "rewinds.x.kind: 'later' is not known; choose from imp, late,"),
        ({"x": {"kind": "late", "step": 1}}, "rewinds.x: 'step' is not a key; did you mean"),
        ({"x": {"kind": "late", "steps": 0}}, "rewinds.x.steps: 0 is not allowed; it must be"),
        (
            {"x": {"kind": "late", "steps": 1, "share": 0.5}},
            "rewinds.x.share: steps says the step already; leave one of the two out.",
        ),
        ({"imp": {"kind": "late"}}, "rewinds.imp.kind: imp is a kind of its own"),
        ({"x_one_shot": {"kind": "late"}}, "rewinds.x_one_shot: a folder's name would not tell it"),
        (
            {"x": {"kind": "late", "epochs": 3}},
            "rewinds.x: on digits, with the curriculum adam, step 15 lies beyond 10, the last step",
        ),
    ],
)  # fmt: skip
def test_rewinds_that_make_no_sense_are_refused(small, rewinds, sentence):
    small.config["rewinds"] = rewinds
    small.config["trunks"][0] |= {"rewind": list(rewinds)}
    with pytest.raises(InputError) as refused:
        configuration.validate(small.config)
    assert sentence in str(refused.value)
