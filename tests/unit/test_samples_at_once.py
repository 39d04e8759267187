"""S samples at once against S networks, against torch's own layers and against torch-blue."""

import copy

import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES, WIDE
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode
from torch_blue.vi import convert_to_vimodule
from torch_blue.vi.distributions import MeanFieldNormal
from torch_blue.vi.utils.convert import ban_convert

from bayesian_lottery.models import build
from bayesian_lottery.models.layers import (
    Attention,
    BatchNorm2d,
    Conv2d,
    LayerNorm,
    Linear,
    Tokens,
    unfold_samples,
)
from bayesian_lottery.randomness import generator

pytestmark = pytest.mark.slow

SAMPLES, BATCH = 3, 5
SHAPES = FAMILIES | WIDE
family = pytest.mark.parametrize("model", SHAPES)


def numbers(*shape, stream):
    return torch.randn(shape, dtype=torch.float64, generator=generator(stream))


def network(model):
    """A small network in float64 whose norms and running statistics are not their defaults."""
    module = build(model, SHAPES[model], 10, seed=0).double()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor += 0.1 * numbers(*tensor.shape, stream=name).abs()
    return module


def images(model):
    return numbers(BATCH, *SHAPES[model], stream="images")


def samples_of(module):
    """S perturbed copies of the sampled parameters, and the others, all as leaves."""
    sampled = {
        f"{path}.{name}"
        for path, layer in module.named_modules()
        if isinstance(layer, (Conv2d, Linear))
        for name, _ in layer.named_parameters()
    }
    copies = [
        {
            name: (p + 0.1 * numbers(*p.shape, stream=(name, i))).detach().requires_grad_()
            for name, p in module.named_parameters()
            if name in sampled
        }
        for i in range(SAMPLES)
    ]
    shared = {
        name: p.detach().clone().requires_grad_()
        for name, p in module.named_parameters()
        if name not in sampled
    }
    return copies, shared


def stacked(copies):
    return {name: torch.cat([copy[name] for copy in copies]) for name in copies[0]}


@pytest.mark.parametrize("training", [True, False])
@family
def test_samples_at_once_equal_a_loop_over_networks(model, training):
    template = network(model).train(training)
    x, direction = images(model), numbers(SAMPLES, BATCH, 10, stream="direction")
    before = {name: buffer.clone() for name, buffer in template.named_buffers()}
    copies, shared = samples_of(template)
    leaves = [*shared.values(), *(p for copy in copies for p in copy.values())]

    logits = functional_call(template, {**stacked(copies), **shared}, (x,))
    assert logits.shape == (BATCH, SAMPLES * 10)
    logits = unfold_samples(logits, 10)
    gradients = torch.autograd.grad(logits, leaves, direction)
    after = {name: buffer.clone() for name, buffer in template.named_buffers()}

    alone, buffers = [], []
    for weights in copies:
        own = {name: buffer.clone() for name, buffer in before.items()}
        alone.append(functional_call(template, {**weights, **shared, **own}, (x,)))
        buffers.append(own)
    alone = torch.stack(alone)
    expected = torch.autograd.grad(alone, leaves, direction)

    torch.testing.assert_close(logits, alone, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradients, expected, rtol=1e-8, atol=1e-10)
    for name, buffer in after.items():
        mean = torch.stack([own[name].double() for own in buffers]).mean(0)
        torch.testing.assert_close(buffer.double(), mean, rtol=1e-10, atol=1e-12)
        if training and "num_batches" not in name:
            assert not torch.equal(buffer, before[name])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_without_running_statistics_uses_the_batchs(training):
    layer = BatchNorm2d(2, track_running_stats=False).double().train(training)
    x = numbers(BATCH, SAMPLES * 2, 3, 3, stream="x")
    expected = torch.cat([layer(part) for part in x.split(2, dim=1)], dim=1)
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).mean((0, 2, 3)).abs().max() < 1e-12


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "layer, shape",
    [
        (Conv2d(2, 4, 3, stride=2, padding=1), (BATCH, 2, 6, 6)),
        (Linear(6, 4), (BATCH, 3, 6)),
        (BatchNorm2d(2), (BATCH, 2, 6, 6)),
        (LayerNorm(6), (BATCH, 3, 6)),
    ],
)
def test_one_sample_is_exactly_pytorchs_layer(layer, shape, training):
    layer = copy.deepcopy(layer).double().train(training)
    plain, x = copy.deepcopy(layer), numbers(*shape, stream="x")
    parent = type(layer).__mro__[1]
    assert parent.__module__.startswith("torch.nn")
    assert torch.equal(layer(x), parent.forward(plain, x))
    for name, value in plain.state_dict().items():
        assert torch.equal(layer.state_dict()[name], value)


def test_many_tokens_go_through_a_convolution_to_the_same_values():
    layer, x = Linear(96, 80), numbers(16, 101, 96, stream="x").float().requires_grad_()
    found, expected = layer(x), F.linear(x, layer.weight, layer.bias)
    gradient, by = numbers(*found.shape, stream="gradient").float(), (x, *layer.parameters())
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert list(counter.get_flop_counts()["Global"]) == [torch.ops.aten.convolution]
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, by, gradient),
        torch.autograd.grad(expected, by, gradient),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def test_attention_is_pytorchs_multihead_attention():
    dim, heads, x = 12, 3, numbers(BATCH, 7, 12, stream="x")
    ours = Attention(dim, heads).double()
    theirs = nn.MultiheadAttention(dim, heads, batch_first=True).double()

    def by_kind(rows):  # (heads, 3, d, ...) to (3, heads, d, ...)
        return rows.unflatten(0, (heads, 3, dim // heads)).transpose(0, 1).flatten(0, 2)

    weights = {
        "in_proj_weight": by_kind(ours.qkv.weight),
        "in_proj_bias": by_kind(ours.qkv.bias),
        "out_proj.weight": ours.projection.weight,
        "out_proj.bias": ours.projection.bias,
    }
    torch.testing.assert_close(ours(x[None])[0], functional_call(theirs, weights, (x, x, x))[0])


@family
def test_compiles_into_one_graph(model):
    template = network(model)
    before = copy.deepcopy(template.state_dict())
    copies, shared = samples_of(template)
    weights = {**stacked(copies), **shared}

    def forward(x):
        return functional_call(template, weights, (x,))

    expected = forward(images(model))
    state = copy.deepcopy(template.state_dict())
    template.load_state_dict(before)
    compiled = torch.compile(forward, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images(model)), expected)
    for name, value in state.items():
        torch.testing.assert_close(template.state_dict()[name], value)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap of attention on the CPU
@pytest.mark.parametrize("training", [True, False])
@family
def test_torch_blue_converts_and_runs_it(model, training):
    ban_convert([BatchNorm2d, LayerNorm, Tokens])
    template = network(model).train(training)
    if training:  # torch-blue cannot vmap a norm that updates running statistics
        for layer in template.modules():
            if isinstance(layer, BatchNorm2d):
                layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    module = copy.deepcopy(template)
    distribution = MeanFieldNormal(std=0.01)
    convert_to_vimodule(module, keep_weights=True, variational_distribution=distribution)

    parameters = dict(module.named_parameters())
    for name, tensor in template.named_parameters():
        layer, _, variable = name.rpartition(".")
        sampled = isinstance(template.get_submodule(layer), (Conv2d, Linear))
        kept = parameters.pop(f"{layer}._{variable}_mean" if sampled else name)
        assert torch.equal(kept, tensor)
    assert all(name.endswith("_log_std") for name in parameters)

    x = images(model)
    logits = module(x, samples=4)
    assert logits.shape == (4, BATCH, 10)
    assert not torch.equal(logits[0], logits[1])
    with torch.no_grad():
        for log_std in parameters.values():
            log_std.fill_(-torch.inf)
    module.return_log_probs = False
    expected = template(x).expand(4, -1, -1)
    torch.testing.assert_close(torch.Tensor(module(x, samples=4)), expected)
