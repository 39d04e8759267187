"""The engine on a GPU: the numbers of the CPU, and bfloat16 close to float32."""

import pytest
import torch

from bayesian_lottery import models
from bayesian_lottery.inference import networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training.engine import Engine, Plan

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]
SHAPE, SAMPLES, BATCH = (3, 32, 32), 4, 16
model = pytest.mark.parametrize("model", ["resnet20", "vgg11", "vit_nano"])


def step(model, device, plan, dtype=torch.float32):
    """Loss, logits and gradients of one step, on the CPU in float64."""
    template = models.build(model, SHAPE, 10, seed=1).to(device, dtype)
    network = networks.build("bayesian", template, {"initial_std": 0.1, "prior_std": 1.0})
    network.load(network.state(), masks.ones(models.prunable(template)))
    stream = generator("batch")
    images = torch.randn(BATCH, *SHAPE, generator=stream).to(device, dtype)
    labels = torch.randint(10, (BATCH,), generator=stream).to(device)
    noise = torch.randn(SAMPLES, len(network.survivors), generator=stream).to(device, dtype)
    engine = Engine(network, SHAPE, plan)
    logits, nll, divergence = engine.gradients(images, labels, noise, "categorical", 1e-5)
    gradients = {n: t.grad.double().cpu() for n, t in network.tensors().items() if t.requires_grad}
    return logits.double().cpu(), (nll + 1e-5 * divergence).double().cpu(), gradients


@pytest.mark.parametrize("size", [1, SAMPLES])
@model
def test_float64_is_the_cpus(model, size):
    plan = Plan(size, precision="float32")
    expected = step(model, "cpu", plan, torch.float64)
    found = step(model, "cuda", plan, torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@model
def test_the_default_is_bfloat16_and_close_to_float32(model):
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this card has no bfloat16")
    logits, loss, gradients = step(model, "cuda", Plan(precision="float32"))
    reduced_logits, reduced_loss, reduced = step(model, "cuda", Plan())
    assert not torch.equal(logits, reduced_logits)
    assert (reduced_loss - loss).abs() < 0.05
    ours = torch.cat([g.flatten() for g in gradients.values()])
    theirs = torch.cat([g.flatten() for g in reduced.values()])
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.95
