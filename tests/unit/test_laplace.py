"""Laplace approximations against curvature and predictions that are computed in another way."""

import copy

import numpy as np
import pytest
import torch
from small_study import SmallStudy, interrupted
from torch.func import functional_call, jacrev, vmap

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import laplace, networks
from bayesian_lottery.inference.draws import OWN
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.options import defaults
from bayesian_lottery.randomness import generator
from bayesian_lottery.study import node_metrics
from bayesian_lottery.tickets import masks

MODELS = ["lenet_100_50", "lenet_300_100", "resnet8_slim", "vit_nano"]
SHAPES = {"lenet_300_100": (1, 8, 16)}  # whose layers are sparse enough for sparse products
IMAGES = 12


def network_of(model, density=0.1, **options):
    """A Laplace network under a random mask, in float64, and batches of images."""
    shape, stream = SHAPES.get(model, (1, 8, 8)), generator("laplace", model)
    template = models.build(model, shape, 10, seed=1).double()
    mask = {
        n: torch.rand(s, generator=stream) < density for n, s in models.prunable(template).items()
    }
    network = networks.build("laplace", template, {**defaults(KINDS["laplace"].options), **options})
    network.load(network.state(), mask)
    images = torch.randn(IMAGES, *shape, dtype=torch.float64, generator=stream)
    labels = torch.randint(10, (IMAGES,), generator=stream)

    def batches():
        return zip(images.split(5), labels.split(5), strict=True)

    return network, batches, images, labels


def jacobians(network, model, images, names=None):
    """Of each image's logits by the plain model's weights, from torch.func: (B, K, ...) by name."""
    plain = models.build(model, SHAPES.get(model, (1, 8, 8)), 10).double().eval()
    saved = {n: t for n, t in network.state().items() if not n.startswith(OWN)}
    plain.load_state_dict(saved)
    chosen = {n: p for n, p in plain.named_parameters() if names is None or n in names}

    def logits(parameters, image):
        return functional_call(plain, parameters, (image[None],))[0]

    values = logits_of(plain, images)
    return vmap(jacrev(logits), (None, 0))(chosen, images), values


def logits_of(plain, images):
    with torch.no_grad():
        return plain(images)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("curvature", ["ggn", "fisher"])
def test_diagonal_is_that_of_each_images_gradients(model, curvature):
    network, batches, images, labels = network_of(model, curvature=curvature, prior_precision=3.0)
    network.finish(batches)
    found, logits = jacobians(network, model, images)
    p = logits.softmax(-1)
    expected = {}
    for name in network.survivors.shapes:
        jacobian = found[name].flatten(2)
        scores = jacobian - torch.einsum("bk,bkn->bn", p, jacobian)[:, None]  # of log p_k
        if curvature == "ggn":
            squares = torch.einsum("bk,bkn->n", p, scores.square())
        else:
            squares = scores[torch.arange(IMAGES), labels].square().sum(0)
        expected[name] = squares.view(network.survivors.shapes[name])
    row = network.survivors.collect(expected)
    torch.testing.assert_close(network.spread, (row + 3.0).rsqrt())
    std = network.moments()["std"]
    assert all((std[name][~layer] == 0).all() for name, layer in network.mask.items())


@pytest.mark.parametrize("model", ["lenet_100_50", "resnet8_slim"])
def test_last_layer_predicts_as_the_closed_form_says(model):
    """Logits are linear in the last layer, hence normal, of covariance J (H + d)^-1 J'."""
    network, batches, images, _ = network_of(model, hessian="last_layer", prior_precision=2.0)
    network.finish(batches)
    name = models.classifier_of(network.template)
    found, logits = jacobians(network, model, images, [f"{name}.weight", f"{name}.bias"])
    jacobian = torch.cat([found[f"{name}.{own}"].flatten(2) for own in ("weight", "bias")], 2)
    p = logits.softmax(-1)
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    hessian = torch.einsum("bkn,bkl,blm->nm", jacobian, inner, jacobian)
    covariance = torch.linalg.inv(hessian + 2.0 * torch.eye(len(hessian), dtype=torch.float64))
    torch.testing.assert_close(network.spread @ network.spread.T, covariance)
    network.template.eval()
    noise = network.noise(4000, generator("draws"))
    with torch.no_grad():
        drawn = network.logits(images[1:2], network.weights(), noise)[:, 0]
    torch.testing.assert_close(drawn.mean(0), logits[1], atol=0.1, rtol=0)
    predicted = jacobian[1] @ covariance @ jacobian[1].T
    scale = predicted.diagonal().max().item()
    assert (drawn.T.cov() - predicted).abs().max() < 0.1 * scale  # 4 standard errors


def test_precision_maximises_the_marginal_likelihood():
    eigenvalues, norm = np.array([0.0, 0.5, 3.0, 40.0]), 2.0
    grid = np.exp(np.linspace(-5, 5, 100_001))
    logs = (np.log(grid)[:, None] - np.log(eigenvalues + grid[:, None])).sum(1)
    best = grid[(logs / 2 - grid * norm**2 / 2).argmax()]
    assert laplace.evidence_precision(eigenvalues, norm) == pytest.approx(best, rel=1e-3)


def test_until_it_is_fitted_it_is_the_plain_network():
    network, batches, images, _ = network_of("lenet_100_50")
    plain = networks.build(
        "deterministic", copy.deepcopy(models.build("lenet_100_50", (1, 8, 8), 10, seed=1)).double()
    )
    plain.load(plain.state(), network.mask)
    stream = generator("draws")
    for each in (network, plain):
        each.template.eval()
    before = network.logits(images, network.weights(), network.noise(4, stream))
    assert torch.equal(before, plain.logits(images, plain.weights(), plain.noise(4, stream)))
    network.finish(batches)
    network.template.eval()
    after = network.logits(images, network.weights(), network.noise(4, stream))
    assert len(after) == 4 and not torch.allclose(after[0], after[1])
    row = network.survivors.collect(network.draw(stream))
    assert not torch.equal(row, network.weight)
    drawn = network.draw(stream)
    assert all((drawn[name][~layer] == 0).all() for name, layer in network.mask.items())


INFERENCES = {
    "laplace_last": {"kind": "laplace", "hessian": "last_layer"},
    "drop": {"kind": "dropout", "rate": 0.2},
}


def trunk(inference, scorer):
    return {
        "dataset": "digits", "model": "lenet_100_50", "inference": inference, "scorer": scorer,
        "rewind": "lrr", "curriculum": "adam", "seeds": [0], "levels": 1,
    }  # fmt: skip


TRUNKS = [trunk("laplace", "snr"), trunk("laplace_last", "mu"), trunk("drop", "magnitude")]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SmallStudy:
    folder = tmp_path_factory.mktemp("laplace")
    return SmallStudy(folder, trunks=TRUNKS, inferences=INFERENCES, branches=[])


@pytest.mark.parametrize("inference", ["laplace", "laplace_last"])
def test_trunks_are_fitted_pruned_and_resumed(small, monkeypatch, inference):
    dense = small.node("lenet_100_50", inference)
    interrupted(monkeypatch, 10, lambda: small.train(dense, checkpoint_seconds=0))  # it is fitted
    small.train(dense)
    numbers = small.numbers(dense)
    small.train(dense)
    assert small.numbers(dense) == numbers
    metrics = node_metrics.read(small.path(dense, "metrics.json"))
    assert metrics["results"]["peak"]["epoch"] == 2, "the one epoch at which the posterior predicts"
    assert metrics["sampling"]["fitted"] == 1 and metrics["sampling"]["prior_precision"] > 0
    assert metrics["results"]["final"]["mutual_information"] > 0
    for output in (each for each in small.outputs(dense).get("next_masks", {}).values()):
        assert masks.load(output)


def test_refusals_say_why(tmp_path):
    for inference, scorer, reason in (
        ("laplace_last", "snr", "of which no weight but the classifier's has a standard deviation"),
        ("drop", "snr", "of which the ratio of mean to standard deviation is one constant"),
    ):
        with pytest.raises(
            InputError, match=f"'{scorer}' cannot score {inference} networks, {reason}"
        ):
            SmallStudy(
                tmp_path, prepare=False, trunks=[trunk(inference, scorer)],
                inferences=INFERENCES, branches=[],
            )  # fmt: skip
    template = models.build("lenet_100_50", (1, 8, 8), 300)
    with pytest.raises(InputError, match="the classifier has 15,300; use 'diagonal'"):
        networks.build("laplace", template, {"hessian": "last_layer", "curvature": "ggn"})
