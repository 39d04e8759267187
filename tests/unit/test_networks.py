"""Networks in training against torch-blue's own forward pass, losses and gradients."""

import pytest
import torch
from torch_blue.vi import AnalyticalKullbackLeiblerLoss, KullbackLeiblerLoss
from torch_blue.vi.distributions import Categorical, MeanFieldNormal

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import bayesian, networks
from bayesian_lottery.models.layers import BatchNorm2d
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training.engine import data_term, log_likelihoods

MODELS = ["lenet_100_50", "resnet8_slim", "vit_nano"]
SHAPES = {"lenet_300_100": (1, 8, 16)}  # whose layers are sparse enough for sparse products
SAMPLES, BATCH = 3, 6
OPTIONS = {"initial_std": 0.3, "prior_std": 0.7}  # a large sigma, so that noise matters


def template(model):
    return models.build(model, SHAPES.get(model, (1, 8, 8)), 10, seed=1).double()


def random_mask(model, density=0.6, empty=()):
    stream = generator("mask")
    return {
        name: torch.rand(shape, generator=stream) < (0 if name in empty else density)
        for name, shape in models.prunable(template(model)).items()
    }


def network_of(kind, model, mask=None):
    network = networks.build(kind, template(model), OPTIONS)
    network.load(network.state(), mask or masks.ones(models.prunable(network.template)))
    return network


def bayesian_network(model, mask=None):
    return network_of("bayesian", model, mask)


def batch(model="lenet_100_50"):
    stream = generator("images")
    shape = SHAPES.get(model, (1, 8, 8))
    images = torch.randn(BATCH, *shape, dtype=torch.float64, generator=stream)
    return images, torch.randint(10, (BATCH,), generator=stream)


def our_logits(network, noise, images):
    return network.logits(images, network.weights(), noise)


def posteriors(module):
    """(mean, log sigma) of torch-blue's every random variable, by the plain model's name."""
    found = {}
    for path, layer in module.named_modules():
        # Through __dict__: torch-blue's __getattr__ would draw a sample of a variable asked for.
        for variable in layer.__dict__.get("variational_distribution", {}):
            mean = layer._parameters.get(f"_{variable}_mean")
            if mean is not None:
                found[f"{path}.{variable}"] = (mean, layer._parameters[f"_{variable}_log_std"])
    return found


def torch_blue_of(model, network):
    """torch-blue's module with a network's state."""
    module = bayesian.convert(template(model), **OPTIONS)
    module.load_state_dict(network.state())
    return module.train(network.template.training)


def torch_blue_logits(model, network, noise, images, monkeypatch):
    """torch-blue's own forward, a sample at a time, with each variable's noise handed in."""
    module = torch_blue_of(model, network)
    if module.training:  # torch-blue cannot vmap a norm that updates running statistics
        for layer in module.modules():
            if isinstance(layer, BatchNorm2d):
                layer.running_mean = layer.running_var = None
    draws = [network.survivors.named(row) for row in noise]
    names = {id(mean): name for name, (mean, _) in posteriors(module).items()}
    outputs = []
    for sample in draws:
        monkeypatch.setattr(
            MeanFieldNormal,
            "_normal_sample",
            staticmethod(lambda mean, std, s=sample: mean + std * s[names[id(mean)]]),
        )
        outputs.append(module(images, samples=1).as_subclass(torch.Tensor)[0])
    monkeypatch.undo()
    return module, torch.stack(outputs)


def noise_for(network):
    return network.noise(SAMPLES, generator("noise"))


def gradients_of(network):
    """Of every tensor that a network trains, by torch-blue's name or the plain model's."""
    survivors, found = network.survivors, {}
    for name in survivors.shapes:
        mean, log_std = bayesian.parameter_names(name)
        found[mean] = survivors.named(network.mean.grad)[name]
        found[log_std] = survivors.named(network.log_std.grad)[name]
    parameters = {n: p for n, p in survivors.others.items() if isinstance(p, torch.nn.Parameter)}
    return found | {name: parameter.grad for name, parameter in parameters.items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("density", [1, 0.1, 0.01, "an empty layer"])
@pytest.mark.parametrize("model", [*MODELS, "lenet_300_100"])
def test_outputs_losses_and_gradients_are_torch_blues(model, density, training, monkeypatch):
    first = next(iter(models.prunable(template(model))))
    sparse = random_mask(model, density) if density in (0.1, 0.01) else None
    mask = random_mask(model, 0.1, [first]) if density == "an empty layer" else sparse
    network = bayesian_network(model, mask)
    assert bool(network.survivors.patterns) == (model == "lenet_300_100" and density != 1)
    network.template.train(training)
    noise, (images, labels) = noise_for(network), batch(model)
    assert noise.shape == (SAMPLES, len(network.survivors))
    ours = our_logits(network, noise, images)
    module, theirs = torch_blue_logits(model, network, noise, images, monkeypatch)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)

    size = 1000
    loss = KullbackLeiblerLoss(Categorical(eps=0.0), dataset_size=size, heat=0.0)
    theirs.log_probs = torch.zeros(2, dtype=torch.float64)
    their_loss = loss(theirs, labels) / size
    our_loss = data_term(log_likelihoods(ours, labels), "categorical")
    torch.testing.assert_close(our_loss, their_loss, rtol=1e-9, atol=1e-10)

    our_loss.backward()
    their_loss.backward()
    found = gradients_of(network)
    assert found.keys() == dict(module.named_parameters()).keys()
    for name, parameter in module.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        layer, _, variable = name.rpartition(".")
        mask = network.mask.get(f"{layer}.weight") if "weight_" in variable else None
        expected = expected if mask is None else torch.where(mask, expected, 0)
        torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_divergence_is_torch_blues_closed_form_and_its_sampled_one_on_average(model):
    network = bayesian_network(model)
    module, (found,) = torch_blue_of(model, network), network.divergence(network.weights())
    loss = AnalyticalKullbackLeiblerLoss(module, Categorical(), dataset_size=1)
    torch.testing.assert_close(found, loss.prior_matching())
    module.return_log_probs = True
    output = module.eval()(torch.zeros(1, 1, 8, 8, dtype=torch.float64), samples=20)
    log_prior, log_posterior = output.log_probs.mean(0)
    torch.testing.assert_close(log_posterior - log_prior, found, rtol=0.05, atol=0)


def test_divergence_counts_survivors_and_biases_only():
    mask = random_mask("lenet_100_50")
    network = bayesian_network("lenet_100_50", mask)
    expected = 0.0
    for name, (mean, log_std) in posteriors(torch_blue_of("lenet_100_50", network)).items():
        normal = torch.distributions.Normal(mean, log_std.exp(), validate_args=False)
        prior = torch.distributions.Normal(torch.zeros_like(mean), OPTIONS["prior_std"])
        terms = torch.distributions.kl_divergence(normal, prior)
        expected += terms[mask[name]].sum() if name in mask else terms.sum()
    torch.testing.assert_close(network.divergence(network.weights())[0], expected)


@pytest.mark.parametrize("model", [*MODELS, "lenet_300_100"])
def test_without_sigma_it_is_the_deterministic_network(model):
    mask = random_mask(model, 0.1)
    plain, network = network_of("deterministic", model, mask), bayesian_network(model, mask)
    network.log_std.data.fill_(-torch.inf)
    images, _ = batch(model)
    logits = our_logits(network, noise_for(network), images)
    expected = our_logits(plain, plain.noise(1), images)
    torch.testing.assert_close(logits, expected.expand_as(logits), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_means_start_at_the_deterministic_weights_and_sigma_at_the_kaiming_scale(model):
    weights = template(model).state_dict()
    network = networks.build("bayesian", template(model), {"initial_std": 0.01, "prior_std": 1.0})
    for name, (mean, log_std) in posteriors(torch_blue_of(model, network)).items():
        assert torch.equal(mean, weights[name])
        fan_in = weights[name.replace("bias", "weight")][0].numel()
        expected = torch.full_like(mean, 0.01 / fan_in**0.5)
        torch.testing.assert_close(log_std.exp(), expected, rtol=1e-3, atol=0)
    others = network.survivors.others
    assert all(torch.equal(value, weights[name]) for name, value in others.items())


@pytest.mark.parametrize("model", [*MODELS, "lenet_300_100"])
def test_a_layer_without_survivors_is_silent_and_finite(model):
    empty = next(iter(models.prunable(template(model))))
    network = bayesian_network(model, random_mask(model, 0.1, empty=[empty]))
    images, labels = batch(model)
    logits = our_logits(network, noise_for(network), images)
    loss = data_term(log_likelihoods(logits, labels), "elbo")
    (loss + network.divergence(network.weights())).backward()
    assert loss.isfinite()
    assert all(t.grad is None or t.grad.isfinite().all() for t in network.tensors().values())


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_training_leaves_pruned_weights_at_zero_and_state_round_trips(inference):
    model, mask = "resnet8_slim", random_mask("resnet8_slim")
    network = networks.build(inference, template(model), OPTIONS)
    network.load(network.state(), mask)
    optimizer = torch.optim.Adam(network.parameter_groups(0.1), lr=0.1)
    images, labels = batch()
    for _ in range(3):
        logits = our_logits(network, noise_for(network), images)
        (
            data_term(log_likelihoods(logits, labels), "categorical")
            + 1e-3 * network.divergence(network.weights())[0]
        ).backward()
        optimizer.step()
        optimizer.zero_grad()
    state = network.state()
    for name, layer in mask.items():
        if inference == "bayesian":
            mean, log_std = bayesian.parameter_names(name)
            assert (state[mean][~layer] == 0).all()
            assert (state[log_std][~layer] == -torch.inf).all()
            assert (state[log_std][layer].isfinite()).all()
        else:
            assert (state[name][~layer] == 0).all() and (state[name][layer] != 0).any()
    again = networks.build(inference, template(model), OPTIONS)
    again.load(state, mask)
    assert all(torch.equal(value, state[name]) for name, value in again.state().items())


def test_log_sigma_has_no_weight_decay():
    network = bayesian_network("resnet8_slim")
    groups = network.parameter_groups(0.5)
    assert groups[1]["params"] == [network.log_std] and groups[1]["weight_decay"] == 0
    assert groups[0]["weight_decay"] == 0.5
    trained = [t for t in network.tensors().values() if isinstance(t, torch.nn.Parameter)]
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in trained}


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_all_that_grows_with_a_network_falls_with_its_density(inference):
    """The optimiser's state, noise and what a checkpoint has, but for biases and the classifier."""
    sizes = []
    for density in (1, 0.1, 0.01):
        network = network_of(inference, "lenet_300_100", random_mask("lenet_300_100", density))
        images, labels = batch("lenet_300_100")
        optimizer = torch.optim.Adam(network.parameter_groups(0.1))
        logits = our_logits(network, noise_for(network), images)
        data_term(log_likelihoods(logits, labels), "elbo").backward()
        optimizer.step()
        moments = optimizer.state_dict()["state"].values()
        kept = [*network.tensors().values(), *(state["exp_avg"] for state in moments)]
        sizes.append(sum(tensor.numel() for tensor in [*kept, noise_for(network)]))
    assert sizes[1] < 0.15 * sizes[0] and sizes[2] < 0.05 * sizes[0]


def test_moments_move_with_a_mask():
    """What dynamic sparse training needs: vectors to dense tensors by name, and back."""
    network = network_of("deterministic", "lenet_100_50", random_mask("lenet_100_50"))
    parameter, count = network.weight, len(network.survivors)
    moment = torch.randn(count, dtype=torch.float64, generator=generator("moment"))
    dense = network.survivors.named(moment)
    mask = {name: layer.clone() for name, layer in network.mask.items()}
    layer = mask["hidden.0.weight"].view(-1)
    gone, come = layer.nonzero()[0].item(), (~layer).nonzero()[0].item()
    layer[gone], layer[come] = False, True
    network.load(network.state(), mask)
    moved = network.survivors.collect(dense)
    assert network.weight is parameter and moved.shape == moment.shape
    again = network.survivors.named(moved)
    dense["hidden.0.weight"].view(-1)[gone] = 0
    torch.testing.assert_close(again, dense, rtol=0, atol=0)
    assert network.state()["hidden.0.weight"].view(-1)[come] == 0


def test_states_that_do_not_fit_are_refused_with_both_shapes():
    small, large = template("resnet8_slim"), template("lenet_100_50")
    state = large.state_dict()
    network = networks.build("deterministic", small)
    with pytest.raises(InputError, match="absent"):
        network.load(state, network.mask)
    broken = network.state()
    broken[next(iter(network.mask))][...] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        network.load(broken, network.mask)
