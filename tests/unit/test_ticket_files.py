"""Tickets of finished nodes as plain, torch-blue's and torch's pruned modules."""

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_study import STUDY, SmallStudy
from test_definitions import configured, node_of, prepared, task_of
from torch.nn.utils import prune
from torch_blue import vi

from bayesian_lottery import models, study
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import sources, tickets
from bayesian_lottery.files import read_tensors
from bayesian_lottery.inference import kinds, networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import jobs, starts

README = Path(__file__).parents[2] / "README.md"
IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SmallStudy:
    study = SmallStudy(tmp_path_factory.mktemp("tickets"))
    for inference in ("deterministic", "bayesian"):
        for level in (0, 1):
            study.train(study.node("resnet8_slim", inference, level=level))
    study.train(study.node("resnet8_slim", branch="shuffle_even", level=1))
    return study


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder with a model's file, where Snakemake would run."""
    (tmp_path / "home_made.py").write_text(Path(__file__).with_name("home_made.py").read_text())
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("lottery_extension_home_made", None)
    yield tmp_path
    sys.modules.pop("lottery_extension_home_made", None)


def folder(small: SmallStudy, node) -> Path:
    return small.path(node, "metrics.json").parent


@pytest.mark.parametrize("level", [0, 1])
def test_a_deterministic_ticket_is_what_was_trained(small, level):
    node = small.node("resnet8_slim", level=level)
    ticket = tickets.load(folder(small, node))
    trained, _ = read_tensors(small.outputs(node)["weights"])
    initial, _ = read_tensors(small.inputs(node)["initial"])
    module = ticket.module()
    torch.testing.assert_close(module.state_dict(), trained, rtol=0, atol=0)
    assert not module.training and module(IMAGES).shape == (6, 10)
    kept = masks.survivors(ticket.mask) / masks.size(ticket.mask)
    assert kept == pytest.approx(0.8 if level else 1, abs=1e-3)
    start = ticket.module("initial").state_dict()
    torch.testing.assert_close(start, masks.apply(ticket.mask, initial), rtol=0, atol=0)


def test_torchs_own_pruning_computes_the_same(small):
    ticket = tickets.load(folder(small, small.node("resnet8_slim", level=1)))
    for weights in ("initial", "trained"):
        module, expected = ticket.pruned(weights), ticket.module(weights)
        assert prune.is_pruned(module)
        torch.testing.assert_close(module(IMAGES), expected(IMAGES))
    layer = ticket.pruned("initial").get_submodule("conv1")
    assert torch.equal(layer.weight_mask.bool(), ticket.mask["conv1.weight"])
    assert torch.equal(layer.weight_orig, ticket.initial["conv1.weight"])


def test_a_bayesian_ticket_draws_what_the_trained_network_draws(small):
    node = small.node("resnet8_slim", "bayesian", level=1)
    ticket = tickets.load(folder(small, node))
    module = ticket.torch_blue()
    assert isinstance(module, vi.VIModule)
    settings = study.node_settings(small.config, node)
    template = models.build("resnet8_slim", (1, 8, 8), 10)
    network = networks.build("bayesian", template, kinds.options_of(settings))
    network.load(read_tensors(small.outputs(node)["weights"])[0], ticket.mask)
    template.eval()
    with torch.no_grad():
        drawn = network.logits(IMAGES, network.weights(), network.noise(400, generator("a")))
        torch.manual_seed(0)
        theirs = torch.stack([module(IMAGES, samples=1) for _ in range(400)]).view(400, 6, 10)
    error = drawn.std(0) * (2 / 400) ** 0.5
    assert ((drawn.mean(0) - theirs.mean(0)).abs() < 5 * error + 1e-6).all()
    means = ticket.module().state_dict()
    state = module.state_dict()
    for name, layer in ticket.mask.items():
        path = name.removesuffix("weight")
        assert torch.equal(means[name], state[f"{path}_weight_mean"])
        assert (state[f"{path}_weight_log_std"].isinf() == ~layer).all()
    start = ticket.torch_blue("initial")
    initial = ticket.module("initial").state_dict()
    assert torch.equal(start.conv1._weight_mean, initial["conv1.weight"])
    assert start.conv1._weight_log_std[ticket.mask["conv1.weight"]].isfinite().all()


def test_a_branchs_mask_is_its_own(small):
    node = small.node("resnet8_slim", branch="shuffle_even", level=1)
    ticket = tickets.load(folder(small, node))
    written = masks.load(small.outputs(node)["mask"])
    assert all(torch.equal(ticket.mask[name], layer) for name, layer in written.items())
    trunk = tickets.load(folder(small, small.node("resnet8_slim", level=1)))
    assert not torch.equal(trunk.mask["conv1.weight"], ticket.mask["conv1.weight"])


@pytest.mark.parametrize("kind", ["one_shot", "early"])
def test_a_ticket_is_found_whatever_search_and_rewind_are_called(small, tmp_path, kind):
    own = {"searches": {"mine": {"kind": kind}}, "rewinds": {"again": {"kind": "imp"}}}
    named = SmallStudy(tmp_path)
    named.config |= own
    named.train(named.node("resnet8_slim"))
    node = replace(named.node("resnet8_slim", level=1), search="mine", rewind="again")
    start = Path(named.inputs(node)["mask"])
    drawn = masks.load(Path(named.outputs(named.node("resnet8_slim"))["next_masks"]["magnitude"]))
    if kind == "early":  # another mask than the one that the trained network has
        drawn = masks.random(drawn, {name: 5 for name in drawn}, generator("drawn"))
        start.parent.mkdir(parents=True)
        masks.save(start, drawn)
    named.train(node)
    found = tickets.load(folder(named, node)).mask
    assert all(torch.equal(found[name], layer) for name, layer in drawn.items())
    start.unlink()
    with pytest.raises(InputError, match="the mask that it was trained under is not there"):
        tickets.load(folder(named, node))


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_a_users_own_module_is_of_its_own_class(home, inference):
    config, nodes = configured(home)
    prepared(config)
    for model in ("mine", "apart"):
        for level in (0, 1):
            node = node_of(nodes, model=model, inference=inference, level=level)
            jobs.train_nodes([task_of(config, node)], "cpu")
        ticket = tickets.load(Path("results", node.folder))
        module, pruned = ticket.module(), ticket.pruned()
        assert type(module).__module__ == "lottery_extension_home_made"
        assert all(type(layer).__module__.startswith(("torch.nn", "lottery_extension"))
                   for layer in module.modules())  # fmt: skip
        torch.testing.assert_close(pruned(IMAGES), module(IMAGES))
        network = ticket.torch_blue()
        with torch.no_grad():
            samples = network(IMAGES, samples=3)
        assert samples.shape == (3, 6, 10) and torch.isfinite(samples).all()
    assert prune.is_pruned(pruned.block.self_attn)


OTHERS = {
    "narrow": {"network": "narrow"},
    "narrow_bayesian": {"network": "narrow", "inference": "bayesian"},
    "moved": {"dataset": "few"},
}


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> SmallStudy:
    """Branches to networks of other shapes: narrow ones, and one of five classes."""
    digits = STUDY["datasets"]["digits"]
    trunk = {**STUDY["trunks"][0], "model": "resnet8_slim", "rewind": "imp", "curriculum": "adam"}
    study = SmallStudy(
        tmp_path_factory.mktemp("others"),
        datasets={"digits": digits, "few": {**digits, "classes": list(range(5))}},
        trunks=[trunk], branch_kinds=OTHERS, branches=[{"branch": list(OTHERS), "levels": [1]}],
    )  # fmt: skip
    images = decoded.load(study.data)
    some = (decoded.Split(*(part[each.labels < 5] for part in (each.images, each.labels)))
            for each in (images.train, images.test))  # fmt: skip
    few = decoded.Images("few", tuple("abcde"), *some, images.mean, images.std)
    decoded.save(study.data.with_stem("few"), few, "made here")
    for name in (None, *OTHERS):
        for level in (1,) if name else (0, 1):
            study.train(study.node("resnet8_slim", branch=name, level=level))
    return study


@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_other_shapes_predict_as_they_did(others, name):
    node = others.node("resnet8_slim", branch=name, level=1)
    ticket = tickets.load(folder(others, node))
    images = decoded.load(others.data.with_stem("few" if name == "moved" else "digits"))
    inputs = decoded.normalise(images.test.images, images.mean, images.std)
    theirs = read_tensors(others.path(node, "predictions.safetensors"))[0]["probabilities"]
    module = ticket.module()
    trunk = tickets.load(folder(others, others.node("resnet8_slim", level=1)))
    if name == "narrow_bayesian":
        found = ticket.torch_blue()(inputs, samples=2000).softmax(-1).mean(0)
        assert (found - theirs.float()).abs().max() < 0.2  # two passes of two samples
    else:
        ours = module(inputs).softmax(-1)
        torch.testing.assert_close(ours, theirs.float(), rtol=0, atol=2e-3)
    start = ticket.module("initial").state_dict()
    assert {k: v.shape for k, v in start.items()} == {
        k: v.shape for k, v in module.state_dict().items()
    }
    assert (start["conv1.weight"].shape == trunk.mask["conv1.weight"].shape) == (name == "moved")
    torch.testing.assert_close(ticket.pruned()(inputs), module(inputs))


def test_what_a_narrow_network_starts_from_is_what_was_trained(others, monkeypatch):
    node, seen = others.node("resnet8_slim", branch="narrow", level=1), []

    def noted(*given):
        network = starts.start(*given)
        seen.append(network.state())
        return network

    monkeypatch.setattr(jobs, "start", noted)
    jobs.train_nodes([others.task(node)], "cpu")
    initial = tickets.load(folder(others, node)).module("initial").state_dict()
    torch.testing.assert_close(initial, seen[0], rtol=0, atol=0)


def test_a_narrow_network_is_not_exported_again(others):
    node = others.node("resnet8_slim", branch="narrow", level=1)
    with pytest.raises(InputError, match=r"dense and small already; `tickets\.load"):
        sources.read(folder(others, node), others.data)


def test_what_is_not_there_is_said(small, tmp_path):
    node = small.node("resnet8_slim", level=1)
    ticket = tickets.load(folder(small, node))
    with pytest.raises(InputError, match="weights: 'last' is not known"):
        ticket.module("last")
    weights = Path(small.outputs(node)["weights"])
    kept = weights.rename(weights.with_suffix(".away"))
    try:
        with pytest.raises(InputError, match="'weights: all' keeps them, or take 'initial'"):
            tickets.load(folder(small, node)).module()
    finally:
        kept.rename(weights)
    with pytest.raises(InputError, match="no such file"):
        tickets.load(tmp_path)


def test_the_readmes_example_runs(small):
    (block,) = re.findall(
        r"```python\n(from bayesian_lottery\.exports.*?)```", README.read_text(), re.S
    )
    (path,) = re.findall(r'"(results/runs/[^"]+)"', block)
    node = small.node("resnet8_slim", "bayesian", level=1)
    known: dict = {}
    exec(block.replace(path, str(folder(small, node))), known)
    assert any(isinstance(value, torch.nn.Module) for value in known.values())
