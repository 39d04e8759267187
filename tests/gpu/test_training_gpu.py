"""Training on a GPU: it learns, repeats, resumes and says what it used, as on a CPU."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bayesian_lottery import models
from bayesian_lottery.data.decoded import Images, Split, channel_statistics
from bayesian_lottery.inference import networks, packs
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import devices, loop
from bayesian_lottery.training.batches import Batches
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.curricula import Curriculum
from bayesian_lottery.training.engine import Engine, Plan
from bayesian_lottery.training.steps import UNRECORDED, Step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]
DEVICE, SHAPE, OPTIONS = "cuda", (3, 32, 32), {"initial_std": 0.01, "prior_std": 1.0}
OPTIONS |= {"samples": 4, "heat": 0.1, "likelihood": "categorical"}
RATE = 2**-9  # the same in float32, as graphs have it
model = pytest.mark.parametrize("model", ["resnet20", "vgg11", "vit_tiny"])
inference = pytest.mark.parametrize("inference", ["deterministic", "bayesian"])


@pytest.fixture(autouse=True)
def algorithms():
    devices.set_algorithms(True)
    yield
    devices.set_algorithms(True)


@pytest.fixture(scope="module")
def images() -> Images:
    """Ten patterns under noise, in 44 batches of 32."""
    stream = torch.Generator().manual_seed(0)
    patterns = torch.randint(256, (10, *SHAPE), generator=stream)

    def split(count: int) -> Split:
        labels = torch.arange(count) % 10
        noise = torch.randint(-60, 60, (count, *SHAPE), generator=stream)
        pixels = (patterns[labels] + noise).clamp(0, 255).to(torch.uint8)
        return Split(pixels.to(DEVICE), labels.to(DEVICE))

    train, test = split(1408), split(200)
    statistics = channel_statistics(train.images)
    return Images("patterns", tuple("abcdefghij"), train, test, *statistics)


def network_of(model: str, inference: str, seed: int = 0) -> networks.Network:
    template = models.build(model, SHAPE, 10, seed=seed).to(DEVICE)
    network = networks.build(inference, template, OPTIONS)
    network.load(network.state(), masks.ones(models.prunable(template)))
    return network


def train(images, model, inference, checkpointing=None, **compute):
    """The rows of the history without what they cost, the passes, and the network's state."""
    settings = {
        "inference": inference,
        "compute": compute,
        "augment": {"flip": True, "crop": 1},
        "validation": 0.0,
        "curriculum": {
            **{"epochs": 2, "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 1e-4},
            **{"batch_size": 32, "milestones": [1], "gamma": 0.1, "warmup_epochs": 0},
            "momentum": 0.9,
        },
        "evaluation": {"samples": 4, "passes": 2, "every": 1, "bins": 10, "batch_size": 100},
    }
    network = network_of(model, inference)
    (record,) = loop.train([network], images, settings, [["gpu", model]], checkpointing)
    costs = ("seconds", "peak_memory_bytes")
    rows = [{k: v for k, v in row.items() if k not in costs} for row in record.history]
    assert record.history[-1]["peak_memory_bytes"] > 0
    return rows, record.passes, network.state()


def assert_same(first, second):
    assert first[:2] == second[:2]
    torch.testing.assert_close(first[2], second[2], rtol=0, atol=0)


@inference
def test_images_in_main_memory_give_the_same_numbers(images, inference):
    halves = {"train": images.train, "test": images.test}
    away = {half: Split(part.images.cpu(), part.labels.cpu()) for half, part in halves.items()}
    expected = train(images, "resnet20", inference)
    assert_same(train(replace(images, **away), "resnet20", inference), expected)


@pytest.mark.parametrize("capture", [False, True])
@inference
@model
def test_it_learns_and_the_same_run_gives_the_same_numbers(images, model, inference, capture):
    first = train(images, model, inference, capture=capture)
    rows = first[0]
    assert rows[1]["train_nll"] < rows[0]["train_nll"]
    assert_same(train(images, model, inference, capture=capture), first)


def steps_of(images, model, inference, capture):
    """What each step returns, and the weights after the last: some are recorded, some not."""
    network = network_of(model, inference)
    network.template.train()
    batches = Batches(images, images.train, 32, {"flip": True, "crop": 1}, [["steps"]])
    curriculum = Curriculum(2, "adam", RATE, 1e-4, 32, (), 0.1, 0, 0.9)
    optimizer = curriculum.build_optimizer(network.parameter_groups(1e-4))
    plan, draws = Plan(precision="float32", capture=capture), [generator("draws", device=DEVICE)]
    engine = Engine(network, SHAPE, plan)
    step = Step(engine, optimizer, batches, loop.LABELS, draws, len(images.train))
    totals = [step(number, RATE).clone() for number in range(UNRECORDED + 4)]
    assert (step.recording is not None) == capture
    return totals, network.state()


@inference
@model
def test_recorded_steps_are_the_same(images, model, inference):
    """Images, noise, gradients, optimiser and metrics: all of them are in the graph."""
    expected = steps_of(images, model, inference, capture=False)
    found = steps_of(images, model, inference, capture=True)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("capture", [False, True])
@inference
@model
def test_a_run_broken_off_resumes_bit_for_bit(
    images, model, inference, capture, tmp_path, monkeypatch
):
    whole = train(images, model, inference, capture=capture)
    save, saved = loop.checkpoints.save, []

    def save_and_die(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) in (3, 50):
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.checkpoints, "save", save_and_die)
    checkpointing = Checkpointing(tmp_path / "checkpoint", 0, "the same")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(images, model, inference, checkpointing, capture=capture)
    assert_same(train(images, model, inference, checkpointing, capture=capture), whole)


@model
def test_networks_side_by_side_take_the_steps_that_they_would_take_alone(model):
    def steps(members: list[int]) -> list[networks.State]:
        stream = generator("batch")
        batches = torch.randn(4, 2, 8, *SHAPE, generator=stream).double()[:, members].to(DEVICE)
        labels = torch.randint(10, (4, 2, 8), generator=stream)[:, members].to(DEVICE)
        built = []
        for seed in members:
            template = models.build(model, SHAPE, 10, seed=seed).to(DEVICE, torch.float64)
            built.append(networks.build("bayesian", template, OPTIONS))
        pack = packs.pack(built)
        engine = Engine(pack, SHAPE, Plan(precision="float32"))
        optimizer = torch.optim.SGD(pack.parameter_groups(0.0), lr=1e-2)
        streams = [generator("noise", seed, device=DEVICE) for seed in members]
        for batch, targets in zip(batches, labels, strict=True):
            noise = pack.noise(3, *streams)
            engine.gradients(batch.flatten(0, 1), targets.flatten(), noise, "categorical", 1e-4)
            optimizer.step()
            optimizer.zero_grad()
        return [network.state() for network in built]

    together = steps([0, 1])
    for seed, state in enumerate(together):
        torch.testing.assert_close(state, steps([seed])[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("channels", [16, 64, 256])
def test_float32_is_not_tf32(channels):
    stream = generator("tf32")
    pixels = torch.randn(8, channels, 16, 16, generator=stream).to(DEVICE)
    weight = torch.randn(channels, channels, 3, 3, generator=stream).to(DEVICE)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    exact = F.conv2d(pixels.double(), weight.double())
    error = (F.conv2d(pixels, weight) - exact).abs().max() / exact.abs().max()
    assert error < 1e-5  # TF32 keeps 10 bits: 1e-4 and more


def test_the_log_names_the_device():
    words = devices.describe(torch.device(DEVICE), "auto", True)
    print(words)
    assert torch.cuda.get_device_name() in words and "compute capability" in words
    assert "driver unknown" not in words and "deterministic algorithms" in words


def test_a_full_gpu_is_recognised():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50, dtype=torch.uint8, device=DEVICE)
    assert devices.is_full(error.value)


def test_the_peak_counts_what_a_recording_holds(images):
    before = torch.cuda.memory_reserved()
    steps_of(images, "resnet20", "bayesian", capture=True)
    assert devices.peak_memory(torch.device(DEVICE)) >= torch.cuda.memory_reserved() > before
