"""Models: exact sizes, S samples at once against S networks, torch-blue, refusals."""

import copy
import subprocess
import sys

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

from bayesian_lottery.errors import InputError
from bayesian_lottery.models import MODELS, build, check, prunable
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

# Image shape, all parameters, prunable layers and weights, survivors of 20 levels of 20 per cent.
COUNTS = {
    "lenet_300_100": ((1, 28, 28), 266_610, 2, 265_200, 3_060),
    "lenet5": ((1, 28, 28), 61_706, 4, 60_630, 701),
    "resnet20": ((3, 32, 32), 272_474, 21, 270_256, 3_118),
    "resnet110": ((3, 32, 32), 1_730_714, 111, 1_721_776, 19_852),
    "resnet18": ((3, 32, 32), 11_173_962, 20, 11_159_232, 128_660),
    "wrn_22_2": ((3, 32, 32), 1_079_642, 22, 1_075_632, 12_404),
    "vgg11": ((3, 32, 32), 9_231_114, 8, 9_217_728, 106_276),
    "vgg19": ((3, 32, 32), 20_040_522, 16, 20_018_880, 230_804),
    "vit_tiny": ((3, 32, 32), 5_362_762, 49, 5_317_632, 61_310),
    "vit_base": ((3, 32, 32), 85_152_010, 49, 84_971_520, 979_656),
}
SAMPLES, BATCH = 3, 5
SHAPES = FAMILIES | WIDE
family = pytest.mark.parametrize("model", SHAPES)


def on_meta(model, shape, classes=10):
    with torch.device("meta"):
        return build(model, shape, classes)


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


# Sizes


@pytest.mark.parametrize("model", COUNTS)
def test_counts_are_exact(model):
    shape, total, layers, weights, survivors = COUNTS[model]
    module = on_meta(model, shape)
    sizes = [size.numel() for size in prunable(module).values()]
    assert sum(p.numel() for p in module.parameters()) == total
    assert (len(sizes), sum(sizes)) == (layers, weights)
    for _ in range(20):
        weights -= weights // 5
    assert weights == survivors


def test_counts_agree_with_formulas_worked_by_hand():
    def cifar_resnet(n, w):
        first = 9 * 3 * w + n * 2 * 9 * w * w
        later = [9 * c * 2 * c + (2 * n - 1) * 9 * (2 * c) ** 2 + c * 2 * c for c in (w, 2 * w)]
        return first + sum(later)

    def vgg(*widths):
        return sum(9 * i * o for i, o in zip((3, *widths), widths, strict=False))

    def wrn(n, w):
        """Of 6n + 4 layers; a first convolution of 16 channels and three shortcuts."""
        widths = (w, 2 * w, 4 * w)
        square = sum((2 * n - 1) * 9 * c * c for c in widths)
        changing = sum(10 * i * o for i, o in zip((16, *widths), widths, strict=False))
        return 27 * 16 + square + changing

    def vit(dim, patch):
        return 3 * patch**2 * dim + 12 * (3 + 1 + 4 + 4) * dim**2

    expected = {
        "lenet_300_100": 784 * 300 + 300 * 100,
        "lenet5": 25 * 6 + 25 * 6 * 16 + 400 * 120 + 120 * 84,
        "resnet20": cifar_resnet(3, 16),
        "resnet110": cifar_resnet(18, 16),
        "wrn_22_2": wrn(3, 32),
        "vgg11": vgg(64, 128, 256, 256, 512, 512, 512, 512),
        "vgg19": vgg(*[64] * 2, *[128] * 2, *[256] * 4, *[512] * 8),
        "vit_tiny": vit(192, 4),
        "vit_base": vit(768, 4),
    }
    assert expected == {model: COUNTS[model][3] for model in expected}
    # open_lth counts the classifier too.
    assert expected["resnet20"] + 64 * 10 == 270_896
    assert expected["resnet110"] + 64 * 10 == 1_722_416
    assert expected["vgg11"] + 512 * 10 == 9_222_848
    assert expected["vgg19"] + 512 * 10 == 20_024_000


@pytest.mark.parametrize("model", ["resnet18", "vgg11", "vgg19"])
def test_layers_are_torchvisions(model):
    torchvision = pytest.importorskip("torchvision")
    reference = {"resnet18": "resnet18", "vgg11": "vgg11_bn", "vgg19": "vgg19_bn"}[model]
    with torch.device("meta"):
        theirs = getattr(torchvision.models, reference)(weights=None).state_dict()
    theirs = {
        name.replace("downsample", "shortcut"): tensor.shape
        for name, tensor in theirs.items()
        if not name.startswith(("fc.", "classifier."))
    }
    if model == "resnet18":
        theirs["conv1.weight"] = torch.Size([64, 3, 3, 3])  # the stem for CIFAR
    ours = on_meta(model, (3, 32, 32)).state_dict()
    ours = {name: t.shape for name, t in ours.items() if not name.startswith("classifier.")}
    assert ours == theirs


@pytest.mark.parametrize("model", MODELS)
def test_every_weight_of_a_layer_is_prunable_but_the_classifiers(model):
    module = on_meta(model, COUNTS[model][0] if model in COUNTS else SHAPES["vit_nano"])
    matrices = {name: p.shape for name, p in module.named_parameters() if p.ndim in (2, 4)}
    assert matrices.pop("classifier.weight")[0] == 10
    assert prunable(module) == matrices
    assert list(prunable(module)) == list(matrices)
    assert isinstance(module.classifier, Linear)


@pytest.mark.parametrize("model", MODELS)
def test_smallest_and_larger_images_fit(model):
    spec = MODELS[model]
    sizes = [size for size in range(1, 70) if spec.fits(size)]
    for size in (sizes[0], sizes[1]):
        shape = (2, size, sizes[0])
        module = on_meta(model, shape, classes=7).eval()
        assert module(torch.empty(4, *shape, device="meta")).shape == (4, 7)


# Initial weights


def test_seed_alone_decides_the_initial_weights():
    before = torch.get_rng_state()
    first = build("vit_nano", (1, 8, 8), 10, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again = build("vit_nano", (1, 8, 8), 10, seed=1).state_dict()
    other = build("vit_nano", (1, 8, 8), 10, seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["patches.weight"], other["patches.weight"])


def test_initial_weights_are_kaiming_uniform_and_tokens_normal():
    module = build("vit_tiny", (3, 32, 32), 10, seed=0)
    for layer in module.modules():
        if isinstance(layer, (Conv2d, Linear)):
            bound = layer.weight[0].numel() ** -0.5
            for tensor in (layer.weight, layer.bias):
                assert tensor.abs().max() <= bound
            assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert module.tokens.positions.std().item() == pytest.approx(0.02, rel=0.05)
    assert module.tokens.class_token.std().item() == pytest.approx(0.02, rel=0.2)


# Samples


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


# Names and image sizes


@pytest.mark.parametrize(
    "model, shape, size, allowed",
    [
        ("vgg11", (3, 28, 28), "28 x 28", "at least 32"),
        ("vit_tiny", (3, 32, 30), "32 x 30", "at least 4, in multiples of 4"),
        ("lenet5", (1, 30, 30), "30 x 30", "at least 28 and at most 32, in multiples of 4"),
        ("lenet5", (3, 64, 64), "64 x 64", "at least 28 and at most 32, in multiples of 4"),
        ("resnet18", (3, 4, 32), "4 x 32", "at least 8"),
    ],
)
def test_images_that_do_not_fit_are_refused(model, shape, size, allowed):
    for call in (check, lambda *arguments: build(*arguments, 10)):
        with pytest.raises(InputError) as error:
            call(model, shape)
        assert f"{model} does not take images of {size} pixels" in str(error.value)
        assert str(error.value).endswith(f"must be {allowed}.")


def test_unknown_models_are_refused():
    with pytest.raises(InputError, match=r"model: 'resnet21' is not known; choose from .*resnet20"):
        build("resnet21", (3, 32, 32), 10)


def test_importing_the_registry_does_not_import_torch():
    program = "import sys, bayesian_lottery.models; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
