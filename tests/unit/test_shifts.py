"""Tests by step, under corruption, and beside foreign images."""

import pytest
import synthetic
import torch
import yaml
from small_study import SCHEMA, SmallStudy, interrupted
from torch.testing import assert_close
from torchmetrics.functional.classification import binary_auroc

from bayesian_lottery import study
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json
from bayesian_lottery.findings import results, rows
from bayesian_lottery.randomness import generator
from bayesian_lottery.study.shifts import STRENGTHS
from bayesian_lottery.training import jobs, shifts
from bayesian_lottery.training.metrics import Predictions

pytestmark = pytest.mark.slow

MODEL = "lenet_100_50"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The small study, which asks for everything; its foreign images are those of noise."""
    made = SmallStudy(tmp_path_factory.mktemp("shifts"))
    made.config["evaluation"] |= {
        "every_steps": 2,
        "shifts": ["noise", "rotation"],
        "out_of_distribution": ["colours", "digits"],
    }
    made.config["datasets"]["colours"] = dict(made.config["datasets"]["digits"])
    stream = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (30, 3, 12, 10), generator=stream, dtype=torch.uint8)
    split = decoded.Split(pixels, torch.arange(30) % 10)
    statistics = decoded.channel_statistics(pixels)
    images = decoded.Images("colours", tuple("abcdefghij"), split, split, *statistics)
    decoded.save(study.data_file(made.config, "colours"), images, "made here")
    return made


def task(small, node):
    plain = small.task(node)
    others = study.files(small.config, node)["inputs"]["other_data"]
    inputs = jobs.Inputs(**{**vars(plain.inputs), "other_data": others})
    return jobs.Task(plain.node, plain.settings, inputs, plain.outputs)


@pytest.fixture(scope="module", params=["deterministic", "bayesian"])
def metrics(small, request):
    node = small.node(MODEL, request.param)
    jobs.train_nodes([task(small, node)], "cpu")
    return read_json(small.path(node, "metrics.json"))


def test_every_other_step_is_tested(metrics):
    steps = 2 * (160 // 32)  # epochs x batches
    assert [test["step"] for test in metrics["by_step"]] == list(range(2, steps + 1, 2))
    best = min(metrics["by_step"], key=lambda test: test["validation_nll"])
    row = rows.run(metrics)
    assert row["early_stopping_step"] == best["step"]
    assert row["early_stopping_accuracy"] == best["test_accuracy"]
    # The last step ends the last epoch: deterministic networks are tested there twice, alike.
    if metrics["node"]["inference"] == "deterministic":
        last = metrics["by_step"][-1]["test_accuracy"]
        assert last == metrics["results"]["final"]["accuracy"]


def test_shifts_are_measured_and_tabled(metrics, tmp_path):
    rows = metrics["shifts"]
    named = [(name, level) for name in ("noise", "rotation") for level in (1, 2, 3)]
    assert [(row["shift"], row["strength"]) for row in rows] == named
    assert all(0 <= row["accuracy"] <= 1 and row["nll"] > 0 for row in rows)
    (foreign,) = metrics["out_of_distribution"]  # its own data set is left out
    assert foreign["dataset"] == "colours"
    stochastic = metrics["node"]["inference"] == "bayesian"
    assert (foreign["auroc_mutual_information"] is not None) == stochastic
    table = results.tables(synthetic.write(tmp_path, [metrics])).shifts
    assert table["shift"].tolist() == ["colours", *(name for name, _ in named)]
    assert table["auroc_entropy"].notna().tolist() == [True] + [False] * 6
    assert set(table["dataset"]) == {"digits"}


def test_a_resumed_run_measures_the_same(small, monkeypatch, tmp_path):
    node = small.node(MODEL, "bayesian", curriculum="sgd")
    jobs.train_nodes([task(small, node)], "cpu")
    path = small.path(node, "metrics.json")
    whole = read_json(path)
    interrupted(monkeypatch, 3, lambda: jobs.train_nodes([task(small, node)], "cpu", 0))
    jobs.train_nodes([task(small, node)], "cpu")
    resumed = read_json(path)
    keys = ("by_step", "shifts", "out_of_distribution", "results", "passes")
    assert {key: resumed[key] for key in keys} == {key: whole[key] for key in keys}
    assert resumed["cost"]["resumed_at_steps"]


@pytest.mark.parametrize("name", STRENGTHS)
def test_corruptions_grow_with_their_strength(name):
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 3, 28, 28), generator=stream, dtype=torch.uint8)
    images[..., 7:21, 7:21] = 255
    distances = []
    for level in (1, 2, 3):
        shifted = shifts.corrupt(images, name, level, generator("x"))
        assert shifted.dtype == torch.uint8 and shifted.shape == images.shape
        assert torch.equal(shifted, shifts.corrupt(images, name, level, generator("x")))
        distances.append((shifted.float() - images.float()).abs().mean().item())
    assert 0 < distances[0] < distances[1] < distances[2]


def test_small_images_are_corrupted_too():
    images = torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
    for name in STRENGTHS:
        assert shifts.corrupt(images, name, 3, generator("x")).shape == images.shape


def test_foreign_images_take_the_shape_of_the_others():
    colours = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    colours[:, 0] = 90
    grey = shifts.adapt(colours, (1, 8, 8))
    assert grey.shape == (4, 1, 8, 8) and (grey == 30).all()
    assert shifts.adapt(grey, (3, 8, 8)).shape == (4, 3, 8, 8)


def test_auroc_is_torchmetrics(metrics, small):
    """Of the deterministic network's entropies, by a library that measures otherwise."""
    if metrics["node"]["inference"] != "deterministic":
        pytest.skip("the Bayesian network's passes draw weights")
    from bayesian_lottery import models
    from bayesian_lottery.files import read_tensors

    node = small.node(MODEL)
    images = decoded.load(small.data)
    network = models.build(MODEL, images.image_shape, 10).eval()
    state, _ = read_tensors(small.path(node, "weights.safetensors"))
    network.load_state_dict(state)
    foreign = decoded.load(study.data_file(small.config, "colours")).test.images
    sets = [images.test.images, shifts.adapt(foreign, images.image_shape)]
    inputs = [decoded.normalise(each, images.mean, images.std) for each in sets]
    with torch.no_grad():
        logits = [network(each)[None] for each in inputs]
    scores = torch.cat([Predictions.of(each).entropy() for each in logits])
    expected = binary_auroc(
        scores / scores.max(), torch.tensor([0] * len(sets[0]) + [1] * len(sets[1]))
    )
    measured = metrics["out_of_distribution"][0]["auroc_entropy"]
    assert_close(torch.tensor(measured).float(), expected, atol=1e-6, rtol=0)


def test_the_schema_knows_the_corruptions():
    schema = yaml.safe_load(SCHEMA.read_text())
    shifts = schema["properties"]["evaluation"]["properties"]["shifts"]
    assert shifts["items"]["enum"] == list(STRENGTHS)


def test_a_foreign_data_set_must_be_known(small):
    from bayesian_lottery.study import configuration

    config = {**small.config, "evaluation": {**small.config["evaluation"]}}
    config["evaluation"]["out_of_distribution"] = ["imagenet"]
    with pytest.raises(InputError, match=r"evaluation\.out_of_distribution.*'imagenet'"):
        configuration.validate(config)
