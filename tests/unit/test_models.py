"""Models: exact sizes, initial weights, and refusals of names and image sizes."""

import subprocess
import sys

import pytest
import torch
from families import FAMILIES

from bayesian_lottery.errors import InputError
from bayesian_lottery.models import MODELS, build, check, prunable
from bayesian_lottery.models.layers import Conv2d, Linear

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


def on_meta(model, shape, classes=10):
    with torch.device("meta"):
        return build(model, shape, classes)


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
    module = on_meta(model, COUNTS[model][0] if model in COUNTS else FAMILIES["vit_nano"])
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
