"""Nodes that a chain samples: what they keep, that they resume, and how they end."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
import torch
from small_study import STUDY, SmallStudy, interrupted

from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors
from bayesian_lottery.sampling import sampler
from bayesian_lottery.sampling.posterior import choose
from bayesian_lottery.study import node_metrics
from bayesian_lottery.training import draws, starts

SHORT = {"warmup": 30, "draws": 12, "keep": 6}
VARIANTS = {
    "nuts": {"depth": 4},
    "hmc": {"steps": 10, "prior": "glorot_uniform", "prior_width": 4, "start": "prior"},
    "mclmc": {"images": 100, "temperature": 0.5},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    # What is compiled once is read by the runs that resume.
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    small = SmallStudy(tmp_path_factory.mktemp("chains"))
    small.config["inferences"] = {
        name: {"kind": name, **SHORT, **options} for name, options in VARIANTS.items()
    }
    return small


def chain(small, kind: str):
    return replace(small.node("lenet_100_50"), inference=kind)


def started(small, node, **changes):
    """A node's network where its training starts, its images and its settings."""
    task = small.task(node)
    images = decoded.load(task.inputs.data)
    settings = {**task.settings, node.inference: {**task.settings[node.inference], **changes}}
    return starts.start(images, settings, task.inputs, ["x"], torch.device("cpu")), images, settings


@pytest.mark.parametrize(
    "kind", ["nuts", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("hmc", "mclmc"))]
)
def test_a_node_keeps_its_draws_and_resumes_bit_for_bit_in_warm_up_too(small, kind, monkeypatch):
    node = chain(small, kind)
    small.train(node)
    expected, file = small.numbers(node), small.path(node, "draws.safetensors")
    kept, bytes_of_draws = draws.read(file), file.read_bytes()
    weights, _ = read_tensors(small.path(node, "weights.safetensors"))
    assert weights["sampling.count"] == 12 and len(weights["sampling.draws"]) == 6
    assert len(kept.log_likelihood) == 6 and kept.probabilities.shape[1:] == (50, 10)
    assert ("energy" in kept.statistics) == (kind != "mclmc")
    metrics = node_metrics.read(small.path(node, "metrics.json"))
    told = metrics["sampling"]
    assert told["draws"] == 6 and told["taken"] == 12 and told["warmup"] == 30
    assert told["gradients"] > told["warmup_gradients"] > 30
    assert metrics["results"]["final"]["mutual_information"] > 0
    for after in (7, 35) if kind == "nuts" else (20,):
        interrupted(monkeypatch, after, lambda: small.train(node, 0))
        small.train(node)
        assert small.numbers(node) == expected and file.read_bytes() == bytes_of_draws
        resumed = node_metrics.read(small.path(node, "metrics.json"))
        assert resumed["cost"]["resumed_at_steps"] == [after] and resumed["sampling"] == told


def test_chains_without_a_finite_potential_or_that_go_nowhere_end_with_a_sentence(
    small, monkeypatch
):
    node = chain(small, "nuts")
    network, images, settings = started(small, node)
    bad = replace(images, mean=torch.full_like(images.mean, torch.nan))
    with pytest.raises(InputError, match="nuts: the potential is nan where the chain starts"):
        sampler.train([network], bad, settings, [["x"]])

    def cliff(layout):
        def likelihood(row, data):
            return jnp.where((row == here).all(), 0.0, jnp.nan)

        return likelihood

    network, images, settings = started(small, node)
    here = network.row().detach().numpy().copy()
    monkeypatch.setattr("bayesian_lottery.sampling.posterior.log_likelihood", cliff)
    with pytest.raises(InputError, match="the chain went nowhere: of 30 transitions"):
        sampler.train([network], images, settings, [["x"]])


def test_a_row_of_history_for_each_epoch_and_none_without_training(small):
    node = chain(small, "nuts")
    network, images, settings = started(small, node)
    settings = {**settings, "curriculum": {**settings["curriculum"], "epochs": 0}}
    (record,) = sampler.train([network], images, settings, [["x"]])
    assert [row["epoch"] for row in record.history] == [0]
    assert record.sampling == {"draws": 0}
    history = small.path(node, "history.csv").read_text().splitlines()
    assert len(history) == 3 and history[0].startswith("epoch,draw,loss,step_size,acceptance")
    settings = {**settings, "curriculum": {**settings["curriculum"], "epochs": 43}}
    with pytest.raises(InputError, match="43 epochs are more rows of history than the 42 draws"):
        sampler.train([network], images, settings, [["x"]])


def test_images_are_the_same_for_every_chain_and_of_every_class(small):
    images = decoded.load(small.data)
    chosen = choose(images.train, 60, images, "nuts")
    assert len(chosen) == 60 and torch.equal(
        chosen.labels, choose(images.train, 60, images, "hmc").labels
    )
    for count, sentence in (
        (201, "more than the 200 training images"),
        (5, "none is of the class"),
    ):
        with pytest.raises(InputError, match=f"nuts.images: .*{sentence}"):
            choose(images.train, count, images, "nuts")


def test_rewinds_to_an_early_step_are_refused_before_any_job(tmp_path):
    trunk = {
        "dataset": "digits", "model": "lenet_100_50", "inference": "few", "scorer": "snr",
        "rewind": ["imp", "soon"], "curriculum": "adam", "seeds": [0], "levels": 1,
    }  # fmt: skip
    changes = {
        "inferences": {"few": {"kind": "hmc", **SHORT}},
        "rewinds": {"soon": {"kind": "late", "steps": 3}},
    }
    sentence = (
        "trunks entry 1.rewind: 'soon' goes back to an early step of training, and few networks "
        "have none; use imp, lrr there."
    )
    with pytest.raises(InputError, match=sentence):
        SmallStudy(tmp_path, prepare=False, trunks=[trunk], branches=[], **changes)


def test_models_with_norms_are_refused_before_any_job(tmp_path):
    def study(**changes):
        return SmallStudy(tmp_path, prepare=False, **changes)

    trunk = {
        "dataset": "digits", "model": "resnet8_slim", "inference": "nuts", "scorer": "snr",
        "curriculum": "adam", "seeds": [0], "levels": 1,
    }  # fmt: skip
    sentence = "nuts takes chains of linear layers .* resnet8_slim is none; use lenet_300_100"
    with pytest.raises(InputError, match=f"trunks entry 1.inference: {sentence}"):
        study(trunks=[trunk], branches=[])
    with pytest.raises(InputError, match=f"branches entry 1, sampled.inference: {sentence}"):
        study(
            trunks=[{**trunk, "inference": "deterministic", "scorer": "magnitude"}],
            branch_kinds={"sampled": {"inference": "nuts"}},
            branches=[{"branch": "sampled", "levels": [1]}],
        )


def sampled(tmp_path, options, **pieces):
    """A study with a branch of a sampler of these options, of four epochs."""
    long = {**STUDY["curricula"]["adam"], "epochs": 4}
    SmallStudy(
        tmp_path,
        prepare=False,
        curricula={**STUDY["curricula"], "long": long},
        inferences={"few": options},
        branch_kinds={"sampled": {"inference": "few", **pieces}},
        branches=[{"branch": "sampled", "model": "lenet_100_50", "levels": [1]}],
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "swag", "share": 0.005}, "few.share: 0.005 leaves 1 of 140 steps of training"),
        ({"kind": "sghmc", "burn_in": 0.995}, "few.burn_in: 0.995 leaves 1 of 140 steps of train"),
        (
            {"kind": "sgld", "cycles": 141},
            "few.cycles: 141 is more than the 140 steps of training (on digits, with the "
            "curriculum long).",
        ),
        (
            {"kind": "nuts", "warmup": 1, "draws": 2},
            "few.draws: 4 epochs are more rows of history than the 3 draws, warm-up included.",
        ),
    ],
)
def test_too_few_draws_are_refused_before_any_job(tmp_path, options, sentence):
    with pytest.raises(InputError) as refused:
        sampled(tmp_path, options, curriculum="long")
    assert f"inferences.{sentence}" in str(refused.value)
    sampled(tmp_path, options, train=False)


@pytest.mark.parametrize(
    ("options", "pieces", "sentence"),
    [
        ({"images": 1437}, {}, "inferences.few.images: 1437 is more than the 1150 training images"),
        ({"images": 9}, {}, "inferences.few.images: 9 is fewer than the 10 classes of digits; giv"),
        (
            {},
            {"objective": "distilled"},
            "branch_kinds.sampled.objective: 'distilled' does not go with the inference 'few', "
            "which samples what labels say",
        ),
    ],
)
def test_what_an_exact_sampler_cannot_take_is_refused(tmp_path, options, pieces, sentence):
    with pytest.raises(InputError) as refused:
        sampled(tmp_path, {"kind": "hmc", **options}, **pieces)
    assert sentence in str(refused.value)
