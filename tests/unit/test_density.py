"""The density of exact samplers against the engine's and a hand-written one, in float64."""

import jax
import numpy as np
import pytest
import torch

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.survivors import Survivors
from bayesian_lottery.randomness import generator
from bayesian_lottery.sampling.density import arrange, log_likelihood
from bayesian_lottery.sampling.layout import FORMS, layout_of

SHAPES = {"lenet_100_50": (1, 8, 8), "lenet_300_100": (1, 8, 8), "lenet5": (1, 28, 28)}
IMAGES, CLASSES = 23, 5  # no multiple of a chunk's 10


def case(model: str, density: float, empty: str | None = None):
    """Survivors in float64, a row, images and labels."""
    stream, shape = generator("density", model), SHAPES[model]
    template = models.build(model, shape, CLASSES, seed=0).double()
    survivors = Survivors(template)
    mask = {
        name: torch.rand(size, generator=stream) < density
        for name, size in models.prunable(template, classifier=density < 1).items()
    }
    if empty:
        mask[empty] = torch.zeros_like(mask[empty])
    survivors.keep(mask)
    row = torch.randn(len(survivors), generator=stream, dtype=torch.float64) / 2
    images = torch.randn(IMAGES, *shape, generator=stream, dtype=torch.float64)
    return survivors, row, images, torch.randint(CLASSES, (IMAGES,), generator=stream)


def expected(survivors: Survivors, row, images, labels):
    """The engine's forward pass, and its gradient."""
    row = row.clone().requires_grad_()
    logits = survivors.logits(images, row[None])[0]
    value = -torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    value.backward()
    return value.item(), row.grad


def computed(survivors, row, images, labels, form="auto"):
    with jax.enable_x64(True):
        layout = layout_of(survivors, form)
        data = arrange(layout, images, labels, chunk=10)
        value, gradient = jax.jit(jax.value_and_grad(log_likelihood(layout)))(row.numpy(), data)
        return float(value), torch.from_numpy(np.array(gradient))


@pytest.mark.parametrize(
    "model, density, empty, form",
    [
        *(("lenet_100_50", 0.3, None, form) for form in FORMS),
        ("lenet_100_50", 1.0, None, "auto"),
        ("lenet_100_50", 0.03, None, "auto"),
        ("lenet_100_50", 0.3, "hidden.0.weight", "auto"),
        ("lenet_100_50", 0.3, "classifier.weight", "sparse"),
        ("lenet5", 0.3, None, "auto"),
        ("lenet5", 0.03, "fc1.weight", "auto"),
    ],
)
def test_value_and_gradient_are_the_engines(model, density, empty, form):
    given = case(model, density, empty)
    value, gradient = computed(*given, form)
    right, slope = expected(*given)
    assert value == pytest.approx(right, rel=1e-12)
    torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-11)


def test_value_and_gradient_are_those_by_hand():
    survivors, row, images, labels = case("lenet_100_50", 0.3)
    names = survivors.named(row)
    weights = [names[f"{n}.weight"].numpy() for n in ("hidden.0", "hidden.1", "classifier")]
    biases = [names[f"{n}.bias"].numpy() for n in ("hidden.0", "hidden.1", "classifier")]
    x = [images.flatten(1).numpy()]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x.append(np.maximum(x[-1] @ weight.T + bias, 0))
    logits = x[-1] @ weights[-1].T + biases[-1]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    right = np.log(shares[np.arange(IMAGES), labels]).sum()
    slope = -shares
    slope[np.arange(IMAGES), labels] += 1
    slopes = {}
    for name, index in (("classifier", 2), ("hidden.1", 1), ("hidden.0", 0)):
        slopes[f"{name}.weight"] = torch.from_numpy(slope.T @ x[index])
        slopes[f"{name}.bias"] = torch.from_numpy(slope.sum(0))
        slope = (slope @ weights[index]) * (x[index] > 0)
    value, gradient = computed(survivors, row, images, labels)
    assert value == pytest.approx(right, rel=1e-12)
    torch.testing.assert_close(gradient, survivors.collect(slopes), rtol=1e-9, atol=1e-11)


def test_the_sparser_the_mask_the_fewer_units_are_computed_and_by_survivors_alone():
    dense, sparse = (layout_of(case("lenet_300_100", density)[0]) for density in (0.3, 0.03))
    assert not any(each.sparse for each in dense.linears)
    assert dense.linears[0].live.shape == (300, 64)
    assert sparse.linears[0].sparse
    assert sparse.linears[0].live.shape[0] < 150
    assert "hidden.0" in sparse.words() and "sparse" in sparse.words()


def test_a_model_that_is_no_chain_is_refused():
    template = models.build("resnet8_slim", (1, 8, 8), 5, seed=0)
    with pytest.raises(InputError, match="ResNet is no chain of linear layers"):
        layout_of(Survivors(template))
