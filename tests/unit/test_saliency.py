"""Scores of initial weights, against finite differences and conservation laws; masks in rounds."""

import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES
from test_pruning import STREAM, images_of, network_of

from bayesian_lottery import models
from bayesian_lottery.tickets import masks, rankings
from bayesian_lottery.tickets.scores import SCORERS
from bayesian_lottery.training import pruning, saliency

AT_INIT = [name for name, scorer in SCORERS.items() if scorer.code]
SETTINGS = {
    "validation": 0.2,
    "curriculum": {"batch_size": 64},
    "compute": {},
    "prune_fraction": 0.2,
    "search_options": {"kind": "at_init", "rounds": 0, "batch": 40},
}


class Reference:
    """The loss of a batch of 40 as a function of the plain model's prunable weights, in float64."""

    def __init__(self, model: str, images):
        self.model = models.build(model, FAMILIES[model], 10, seed=1).double()
        inputs, self.labels = pruning.batch_of(images, SETTINGS, STREAM)
        assert len(inputs) == 40
        self.inputs = inputs.double()
        state = self.model.state_dict()
        self.weights = {name: state[name].clone() for name in models.prunable(self.model)}

    def loss(self, *moves: tuple[float, dict]) -> torch.Tensor:
        """Of the weights moved by some steps, each a length and a direction."""
        moved = {n: w + sum(s * d[n] for s, d in moves if n in d) for n, w in self.weights.items()}
        state = {**self.model.state_dict(), **moved}
        output = torch.func.functional_call(
            self.model, {n: t.clone() if n not in moved else t for n, t in state.items()},
            (self.inputs,),
        )  # fmt: skip
        return F.cross_entropy(output, self.labels)

    def gradient(self) -> dict[str, torch.Tensor]:
        zero = {n: torch.zeros_like(w, requires_grad=True) for n, w in self.weights.items()}
        found = torch.autograd.grad(self.loss((1.0, zero)), [*zero.values()])
        return dict(zip(zero, found, strict=True))

    def places(self, count: int):
        """Single weights at random places of every layer: name, index, and the unit direction."""
        stream = torch.Generator().manual_seed(5)
        for name, weight in self.weights.items():
            for index in torch.randperm(weight.numel(), generator=stream)[:count].tolist():
                unit = torch.zeros_like(weight)
                unit.view(-1)[index] = 1
                yield name, index, {name: unit}


@pytest.mark.parametrize("model", FAMILIES)
def test_snip_is_the_slope_of_the_loss_along_each_weight(model):
    images, network = images_of(model), network_of(model, "deterministic")
    found, reference = saliency.snip(network, images, SETTINGS, STREAM), Reference(model, images)
    assert found.keys() == network.mask.keys()
    scale = max(score.max() for score in found.values())
    for name, index, unit in reference.places(3):
        slope = (reference.loss((1e-6, unit)) - reference.loss((-1e-6, unit))) / 2e-6
        expected = (reference.weights[name].view(-1)[index] * slope).abs()
        assert abs(found[name].view(-1)[index] - expected) < 1e-3 * expected + 1e-5 * scale


@pytest.mark.parametrize("model", FAMILIES)
def test_grasp_is_each_weight_times_the_slope_of_half_the_gradients_square(model, monkeypatch):
    """Hg by mixed second differences of the loss, along the gradient and one weight.

    They need a loss without kinks.
    """
    monkeypatch.setattr(F, "relu", lambda x, inplace=False: F.softplus(x))
    monkeypatch.setattr(F, "max_pool2d", lambda x, size, *_, **__: F.avg_pool2d(x, size))
    images, network = images_of(model), network_of(model, "deterministic")
    found, reference = saliency.grasp(network, images, SETTINGS, STREAM), Reference(model, images)
    gradient, e = reference.gradient(), 1e-4
    scale = max(score.abs().max() for score in found.values())
    for name, index, unit in reference.places(3):
        loss = {
            (a, b): reference.loss((a * e, gradient), (b * e, unit))
            for a in (1, -1)
            for b in (1, -1)
        }
        mixed = (loss[1, 1] - loss[1, -1] - loss[-1, 1] + loss[-1, -1]) / (4 * e * e)
        expected = reference.weights[name].view(-1)[index] * mixed
        assert abs(found[name].view(-1)[index] - expected) < 1e-2 * abs(expected) + 1e-3 * scale


def test_grasp_prunes_first_what_lets_the_gradient_grow():
    """Removing the lowest scores leaves a larger gradient than removing the highest."""
    images, network = images_of("lenet_100_50"), network_of("lenet_100_50", "deterministic")
    scores = saliency.grasp(network, images, SETTINGS, STREAM)
    dense = {name: layer.cpu() for name, layer in network.mask.items()}
    norms = []
    for sign in (1, -1):
        mask = masks.prune(dense, {name: sign * s for name, s in scores.items()}, 0.05)
        reference = Reference("lenet_100_50", images)
        reference.weights = {n: w * mask[n] for n, w in reference.weights.items()}
        norms.append(sum(g.square().sum() for g in reference.gradient().values()))
    assert norms[0] > norms[1]


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_synaptic_flow_is_conserved_layer_by_layer(inference):
    """In a network without short cuts every path passes every layer (Tanaka et al., section 5)."""
    for model in ("lenet_100_50", "vgg5_slim"):
        network, images = network_of(model, inference), images_of(model)
        found = saliency.synflow(network, images, SETTINGS, STREAM)
        sums = torch.stack([score.sum() for score in found.values()])
        torch.testing.assert_close(sums, sums[0].expand(len(sums)), rtol=1e-9, atol=0)
        assert sums[0] > 0


def test_synaptic_flow_is_the_sum_over_paths():
    """Of a small network by products of matrices."""
    images, network = images_of("lenet_100_50"), network_of("lenet_100_50", "deterministic")
    found = saliency.synflow(network, images, SETTINGS, STREAM)
    state = {n: w.double().abs() for n, w in network.state().items() if n.endswith("weight")}
    first, second, last = state.values()
    total = (last @ second @ first).sum()
    for score in found.values():
        torch.testing.assert_close(score.sum(), total, rtol=1e-9, atol=0)
    into, out = first.sum(1), (last @ second).sum(0)
    torch.testing.assert_close(found[next(iter(found))].sum(1), into * out, rtol=1e-9, atol=0)


@pytest.mark.parametrize("model", ["lenet_100_50", "vgg5_slim", "resnet8_slim"])
def test_synaptic_flow_in_rounds_empties_no_layer_down_to_a_thousandth(model):
    """Down to 13 weights of 11,400. Around layers in residual branches there are other paths."""
    settings = {**SETTINGS, "scorer": "synflow", "level": 31}  # 0.8^31 = 0.001
    images, network = images_of(model), network_of(model, "deterministic")
    mask = pruning.initial_mask(network, images, settings, STREAM)
    assert masks.survivors(mask) == rankings.left(masks.size(mask), 0.2, 31)
    assert masks.survivors(mask) < 0.0012 * masks.size(mask)
    network.load(network.state(), mask)
    flows = saliency.synflow(network, images, SETTINGS, STREAM)
    assert sum(score.sum() for score in flows.values()) > 0, "nothing flows from input to output"
    if model != "resnet8_slim":
        assert all(layer.any() for layer in mask.values())


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
@pytest.mark.parametrize("scorer", AT_INIT)
def test_masks_of_initial_weights_have_the_levels_count_and_nothing_else_moves(scorer, inference):
    images = images_of("resnet8_slim")
    for rounds in (1, 3):
        network = network_of("resnet8_slim", inference)
        before, dense = network.state(), dict(network.mask)
        options = {**SETTINGS["search_options"], "rounds": rounds}
        settings = {**SETTINGS, "scorer": scorer, "level": 4, "search_options": options}
        mask = pruning.initial_mask(network, images, settings, STREAM)
        assert masks.survivors(mask) == rankings.left(masks.size(mask), 0.2, 4)
        again = pruning.initial_mask(
            network_of("resnet8_slim", inference), images, settings, STREAM
        )
        assert all(torch.equal(mask[name], again[name]) for name in mask)
        network.load(before, dense)
        for name, value in network.state().items():
            assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("scorer", AT_INIT)
def test_initial_weights_compete_and_go_together_as_the_level_says(scorer):
    """Layer by layer with a share of the classifier's own; and whole units."""
    images, settings = images_of("vgg5_slim"), {**SETTINGS, "scorer": scorer, "level": 3}
    settings["search_options"] = {**SETTINGS["search_options"], "rounds": 4}
    ranking = {"kind": "layerwise", "shares": {"classifier": 0.1}}
    network = network_of("vgg5_slim", "deterministic")
    mask = pruning.initial_mask(
        network, images, {**settings, "ranking": "mine", "ranking_options": ranking}, STREAM
    )
    for name, layer in mask.items():
        share = 0.1 if name == "classifier.weight" else 0.2
        assert int(layer.sum()) == rankings.left(layer.numel(), share, 3), name
    assert "classifier.weight" in mask
    units = pruning.initial_mask(
        network_of("vgg5_slim", "deterministic"), images, {**settings, "pattern": "units"}, STREAM
    )
    size = masks.size(units)
    assert 0.9 * rankings.left(size, 0.2, 3) < masks.survivors(units) <= rankings.left(size, 0.2, 3)
    first = next(iter(units.values())).flatten(1)
    assert (first.all(1) | ~first.any(1)).all(), "channels go as wholes"


def test_of_a_posterior_scores_are_means_over_its_draws():
    """Of one as narrow as a point, those of the point; of a wide one, of its draws by hand."""
    images = images_of("lenet_100_50")
    point = network_of("lenet_100_50", "deterministic")
    narrow = network_of("lenet_100_50", "bayesian")
    for score in (saliency.snip, saliency.grasp, saliency.synflow):
        expected = score(point, images, SETTINGS, STREAM)
        for name, value in score(narrow, images, SETTINGS, STREAM).items():
            torch.testing.assert_close(
                value, expected[name], rtol=1e-3, atol=1e-5 * float(expected[name].abs().max())
            )


def test_a_draw_has_the_posteriors_mean_and_spread_and_no_pruned_weights():
    network = network_of("lenet_100_50", "bayesian")
    state = network.state()
    spread = {n: t.fill_(-1.0) if n.endswith("log_std") else t for n, t in state.items()}
    mask = {n: torch.rand(m.shape) < 0.5 for n, m in network.mask.items()}
    network.load(spread, mask)
    stream = torch.Generator().manual_seed(0)
    draws = [network.draw(stream) for _ in range(200)]
    assert draws[0].keys() == network.template.state_dict().keys()
    for name, layer in mask.items():
        values = torch.stack([draw[name] for draw in draws])
        assert not values[:, ~layer].any()
        mean = network.moments()["mean"][name][layer]
        error = (values.mean(0)[layer] - mean) / (0.3679 / 200**0.5)
        assert error.abs().mean() == pytest.approx((2 / torch.pi) ** 0.5, abs=0.05)
        assert values.std(0)[layer].mean() == pytest.approx(0.3679, rel=0.02)
