"""Masks that move in training: exact densities, what survivors and grown weights keep, resuming."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_study import SmallStudy, interrupted
from test_pruning import SETTINGS as SCORING
from test_pruning import STREAM, gradients_by_hand, images_of, network_of

from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json, read_tensors, write_tensors
from bayesian_lottery.inference.bayesian import parameter_names
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks, moves, rankings
from bayesian_lottery.training import jobs, moving
from bayesian_lottery.training.curricula import Curriculum
from bayesian_lottery.training.engine import Engine, Plan
from bayesian_lottery.training.remasking import remask
from bayesian_lottery.training.steps import Step

SEARCHES = {
    "set": {"kind": "dynamic", "every": 2, "share": 0.5},
    "rigl": {"kind": "dynamic", "growth": "gradient", "every": 3, "layers": "uniform"},
    "thinner": {"kind": "gradual", "begin": 0.2, "every": 2},
}
SCORERS = {"deterministic": "magnitude", "bayesian": "snr"}
LEVEL = 3


@pytest.fixture
def study(tmp_path) -> SmallStudy:
    """Trunks of three levels by searches whose masks move, ten steps a level."""
    shared = {"dataset": "digits", "curriculum": ["adam", "sgd"], "seeds": [0], "levels": LEVEL}
    trunks = [
        {**shared, "model": "lenet_100_50", "inference": inference, "scorer": scorer,
         "search": list(SEARCHES)}
        for inference, scorer in SCORERS.items()
    ]  # fmt: skip
    return SmallStudy(tmp_path, trunks=trunks, branches=[], searches=SEARCHES)


def watched(monkeypatch, run) -> list[dict]:
    """The network's mask, as counts of layers, before every step of `run` and after its end."""
    seen, take = [], Step.take

    def look(step, *arguments):
        mask = step.engine.network.mask
        seen.append({name: int(layer.sum()) for name, layer in mask.items()})
        return take(step, *arguments)

    monkeypatch.setattr(Step, "take", look)
    run()
    monkeypatch.undo()
    return seen


@pytest.mark.parametrize("curriculum", ["adam", "sgd"])
@pytest.mark.parametrize("search", ["set", "rigl"])
@pytest.mark.parametrize("inference", SCORERS)
def test_sparse_training_keeps_every_layers_count_at_every_step(
    study, monkeypatch, inference, search, curriculum
):
    node = study.node("lenet_100_50", inference, curriculum, level=LEVEL, search=search)
    counts = watched(monkeypatch, lambda: study.train(node))
    assert len(counts) == 10 and all(each == counts[0] for each in counts)
    weights, metrics = masks_and_metrics(study, node)
    assert sum(counts[0].values()) == rankings.left(metrics["prunable"], 0.2, LEVEL)
    found = {layer["name"]: layer["survivors"] for layer in metrics["layers"]}
    assert found == counts[0] == {name: int(layer.sum()) for name, layer in weights.items()}
    start = started(study, node)
    assert any((start[name] != weights[name]).any() for name in start)


def masks_and_metrics(study, node):
    """The mask that a node wrote, which its weights must have, and its metrics."""
    mask = masks.load(study.path(node, "mask.safetensors"))
    state, _ = read_tensors(study.path(node, "weights.safetensors"))
    for name, layer in mask.items():
        if name in state:
            assert not state[name][~layer].any()
        else:
            _, log_std = parameter_names(name)
            assert torch.equal(state[log_std].isneginf(), ~layer)
    return mask, read_json(study.path(node, "metrics.json"))


def started(study, node) -> masks.Mask:
    """The mask that a node's training starts with."""
    task = study.task(node)
    images = decoded.load(task.inputs.data, torch.device("cpu"))
    stream = jobs.stream_of(task.node)
    return jobs.start(images, task.settings, task.inputs, stream, torch.device("cpu")).mask


@pytest.mark.parametrize("inference", SCORERS)
def test_gradual_pruning_follows_its_schedule_exactly(study, monkeypatch, inference):
    """Of ten steps it begins after 2 and ends after 7: moves after 4, 6 and 7."""
    node = study.node("lenet_100_50", inference, level=LEVEL, search="thinner")
    counts = [sum(each.values()) for each in watched(monkeypatch, lambda: study.train(node))]
    mask, metrics = masks_and_metrics(study, node)
    dense, final = metrics["prunable"], rankings.left(metrics["prunable"], 0.2, LEVEL)
    at = {k: final + round((dense - final) * (1 - k / 5) ** 3) for k in (2, 4, 5)}
    assert counts == [dense] * 4 + [at[2]] * 2 + [at[4]] + [at[5]] * 3
    assert metrics["survivors"] == final == masks.survivors(mask)
    assert {metrics["results"][s]["epoch"] for s in ("peak", "final", "selected")} == {2}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("inference", SCORERS)
def test_a_run_whose_mask_has_moved_resumes_bit_for_bit(study, monkeypatch, inference, search):
    """Killed after its fifth step, and again after the eighth."""
    node = study.node("lenet_100_50", inference, level=LEVEL, search=search)
    study.train(node)
    whole = study.numbers(node)
    for path in study.path(node, ".").iterdir():
        path.unlink()
    interrupted(monkeypatch, 5, lambda: study.train(node, checkpoint_seconds=0))
    interrupted(monkeypatch, 3, lambda: study.train(node, checkpoint_seconds=0))
    assert not study.path(node, "metrics.json").exists()
    study.train(node)
    assert study.numbers(node) == whole
    assert read_json(study.path(node, "metrics.json"))["cost"]["resumed_at_steps"] == [5, 8]


def test_a_checkpoint_with_a_damaged_mask_changes_nothing(study, monkeypatch, capsys):
    node = study.node("lenet_100_50", level=LEVEL, search="set")
    study.train(node)
    whole = study.numbers(node)
    interrupted(monkeypatch, 5, lambda: study.train(node, checkpoint_seconds=0))
    path = study.path(node, "checkpoint.safetensors")
    tensors, progress = read_tensors(path)
    for name in [name for name in tensors if name.startswith("generator")]:
        del tensors[name]
    write_tensors(path, tensors, progress)
    study.train(node)
    assert "set aside" in capsys.readouterr().out
    assert study.numbers(node) == whole


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("inference", SCORERS)
def test_a_move_keeps_survivors_and_starts_grown_weights_anew(inference, optimizer):
    """Values and moments of survivors stay; grown ones are 0 (and sigma the initial one)."""
    network = network_of("lenet_100_50", inference)
    fresh, curriculum = network.state(), Curriculum(1, optimizer, 0.01, 0, 16, (), 0.1, 0, 0.9)
    stream = generator("move")
    before, after = (
        {n: torch.rand(m.shape, generator=stream) < 0.5 for n, m in network.mask.items()}
        for _ in range(2)
    )
    network.load(fresh, before)
    trainer = curriculum.build_optimizer(network.parameter_groups(0.0))
    engine = Engine(network, (1, 8, 8), Plan())
    images, labels = torch.rand(16, 1, 8, 8, generator=stream), torch.arange(16) % 10

    def take_step():
        engine.gradients(images, labels, network.noise(3, stream), "elbo", 0.1)
        trainer.step()
        trainer.zero_grad()

    for _ in range(3):
        take_step()
    old, moments = network.state(), moments_of(network, trainer)
    remask(network, trainer, after)
    new, moved = network.state(), moments_of(network, trainer)
    assert moved.keys() == moments.keys() and moments
    weights = {tensor: name for name in before for tensor in (name, *parameter_names(name))}
    for tensor in new:
        if tensor not in weights:
            assert torch.equal(new[tensor], old[tensor]), tensor
            continue
        name = weights[tensor]
        stays, grown = before[name] & after[name], after[name] & ~before[name]
        assert torch.equal(new[tensor][stays], old[tensor][stays])
        if tensor.endswith("log_std"):
            assert torch.equal(new[tensor][grown], fresh[tensor][grown])
        else:
            assert not new[tensor][grown].any()
    for key, dense in moments.items():
        for name in before:
            stays, grown = before[name] & after[name], after[name] & ~before[name]
            assert torch.equal(moved[key][name][stays], dense[name][stays])
            assert dense[name][stays].any() and not moved[key][name][grown].any()
        assert torch.equal(moved[key]["classifier.bias"], dense["classifier.bias"])
    take_step()


def test_an_inference_that_says_nothing_of_grown_weights_can_only_be_thinned(monkeypatch):
    network = network_of("lenet_100_50", "deterministic")
    monkeypatch.setattr(type(network), "born", lambda self, name: None)
    trainer = torch.optim.SGD(network.parameter_groups(0.0), lr=0.1)
    dense = dict(network.mask)
    half = {name: torch.arange(m.numel()).view_as(m) % 2 == 0 for name, m in dense.items()}
    remask(network, trainer, half)
    assert len(network.weight) < sum(m.numel() for m in dense.values())
    with pytest.raises(InputError, match="DeterministicNetwork does not say where weights start"):
        remask(network, trainer, dense)


def moments_of(network, trainer) -> dict:
    """The optimiser's moments of each vector, dense."""
    vectors = {n: v for n, v in network.tensors().items() if n not in network.survivors.others}
    return {
        (name, key): network.survivors.named(moment).copy()
        for name, vector in vectors.items()
        for key, moment in trainer.state[vector].items()
        if moment.shape == vector.shape
    }


@pytest.mark.parametrize("inference", SCORERS)
def test_grown_weights_have_the_largest_gradients_at_value_zero(inference):
    """Against the gradients of plain PyTorch, of a network whose pruned weights are 0."""
    images, network = images_of("lenet_100_50"), network_of("lenet_100_50", inference)
    stream = generator("pruned")
    mask = {n: torch.rand(m.shape, generator=stream) < 0.3 for n, m in network.mask.items()}
    plain = {n: network_of("lenet_100_50", "deterministic").state()[n] * mask[n] for n in mask}
    network.load(network.state(), mask)
    settings = {**SCORING, "model": "lenet_100_50", "inference": inference}
    if inference == "bayesian":  # as narrow as a point
        settings["bayesian"] = {"samples": 3, "likelihood": "elbo", "initial_std": 1e-12,
                                "prior_std": 1.0}  # fmt: skip
    course = moving.Rewiring(network, images, settings, STREAM, 10, {"end": 1.0})
    found = moving.gradient_growth(course, STREAM)
    expected = gradients_by_hand("lenet_100_50", images, plain)
    for name, score in found.items():
        torch.testing.assert_close(score, expected[name].abs(), rtol=1e-3, atol=1e-6)
        assert score[~mask[name]].any()


shapes = st.lists(
    st.lists(st.integers(1, 6), min_size=1, max_size=4).map(torch.Size), min_size=1, max_size=5
)


@given(shapes, st.floats(0, 1), st.booleans())
def test_survivors_are_dealt_out_exactly(shapes, density, uniform):
    named = {f"layer{index}": shape for index, shape in enumerate(shapes)}
    sizes = {name: shape.numel() for name, shape in named.items()}
    count = int(density * sum(sizes.values()))
    shares = sizes if uniform else moves.erdos_renyi(named)
    counts = masks.allocate(sizes, shares, count)
    assert sum(counts.values()) == count and list(counts) == list(named)
    assert all(0 <= counts[name] <= size for name, size in sizes.items())
    if uniform:
        assert all(abs(counts[n] - count * s / sum(sizes.values())) < 1 for n, s in sizes.items())


def test_erdos_renyi_kernels_are_those_of_the_paper():
    """Densities in proportion to (in + out + height + width) / (in x out x height x width)."""
    named = {"a": torch.Size([64, 16, 3, 3]), "b": torch.Size([300, 100]), "c": torch.Size([4, 4])}
    sizes = {name: shape.numel() for name, shape in named.items()}
    counts = masks.allocate(sizes, moves.erdos_renyi(named), 2000)
    assert counts["c"] == 16, "never more than there are"
    ratio = (counts["a"] / sizes["a"]) / (counts["b"] / sizes["b"])
    expected = ((64 + 16 + 3 + 3) / sizes["a"]) / ((300 + 100) / sizes["b"])
    assert ratio == pytest.approx(expected, rel=0.02)


@given(st.integers(1, 40), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_rewiring_drops_the_least_and_grows_the_most(size, density, share, seed):
    stream = generator("rewire", seed)
    mask = {"a": torch.rand(size, generator=stream) < density}
    drop, grow = torch.rand(size, generator=stream), torch.rand(size, generator=stream)
    moved = moves.rewire(mask, {"a": drop}, {"a": grow}, share)["a"]
    kept = int(mask["a"].sum())
    assert int(moved.sum()) == kept
    lowest = torch.argsort(torch.where(mask["a"], drop, torch.inf))[: int(share * kept)]
    left = mask["a"].clone()
    left[lowest] = False
    highest = torch.argsort(torch.where(left, -torch.inf, grow), descending=True)
    left[highest[: int(share * kept)]] = True
    assert torch.equal(moved, left)


def test_moves_shrink_as_a_cosine_and_densities_fall_as_a_cube():
    assert moves.cosine(0.3, 0, 100) == 0.3 and moves.cosine(0.3, 100, 100) == 0
    assert moves.cosine(0.3, 50, 100) == pytest.approx(0.15)
    assert [moves.cubic(1000, 200, p) for p in (0, 0.5, 1)] == [1000, 300, 200]
