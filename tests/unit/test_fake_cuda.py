"""What a GPU would be asked to do, on a machine without one (see `fake_cuda`).

Networks are trained with a test at the end, killed after the first step, restored from the
checkpoint, trained on, and scored: every model by both inferences; and of each family one model
beside another of its kind, pruned, and with every estimator of the gradient, since its larger
siblings are made of the same layers. Tensors that meet on two devices, and results whose shape
depends on values, fail by themselves.

`python tests/unit/test_fake_cuda.py` writes the budget of operations anew.
"""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from fake_cuda import Trace, fake_cuda
from families import FAMILIES

from bayesian_lottery import models
from bayesian_lottery.data.decoded import Images, Split
from bayesian_lottery.inference import kinds, networks, survivors
from bayesian_lottery.inference.variational import ESTIMATORS
from bayesian_lottery.models import MODELS
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.scores import SCORERS
from bayesian_lottery.training import batches, checkpoints, devices, engine, loop, records, steps
from bayesian_lottery.training.capture import Recording

pytestmark = pytest.mark.slow

SHAPE, SAMPLES, BATCH, STEPS = (3, 32, 32), 2, 4, 4
# By case: the inference, the estimator, and how many networks side by side.
ALONE = {
    "deterministic": ("deterministic", "weights", 1),
    "bayesian": ("bayesian", "weights", 1),
}
OTHERS = {
    "deterministic, pruned": ("deterministic", "weights", 1),
    "bayesian, pruned": ("bayesian", "weights", 1),
    "deterministic, 2 side by side": ("deterministic", "weights", 2),
    "bayesian, 2 side by side": ("bayesian", "weights", 2),
    **{name: ("bayesian", name, 1) for name in ESTIMATORS if name != "weights"},
}
CASES = [
    *((model, case) for model in MODELS for case in ALONE),
    *((model, case) for model in FAMILIES for case in OTHERS),
]
CAPTURED = ("bayesian, pruned", "deterministic, 2 side by side")
# Launches of a replayed step: the learning rate, two inputs' copies, the graph, the totals.
LAUNCHES = 5

# Kernels of a step, by model and case: what a small network's step on a GPU is bound by.
BUDGET_FILE = Path(__file__).with_name("operations.json")
SLACK = 0.03

# Operations of which GPUs have no deterministic algorithm, so that jobs would be refused them: of
# those that `torch.use_deterministic_algorithms` lists, the ones that such networks might take.
REFUSED = {
    *("_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward"),
    *("nll_loss2d_forward", "nll_loss2d_backward", "reflection_pad2d_backward", "put_", "histc"),
    *(
        "upsample_bilinear2d_backward",
        "upsample_bicubic2d_backward",
        "cumsum",
        "median",
        "kthvalue",
    ),
}


def settings_of(inference: str, estimator: str) -> dict:
    settings = {
        "inference": inference,
        "augment": {"flip": True, "crop": 2},
        "validation": 0.0,
        "curriculum": {
            **{"epochs": 1, "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 1e-4},
            **{"batch_size": BATCH, "milestones": [], "gamma": 0.1, "warmup_epochs": 0},
            "momentum": 0.9,
        },
        "evaluation": {"samples": 2, "passes": 1, "every": 1, "bins": 10, "batch_size": BATCH},
    }
    if inference == "bayesian":
        options = {"samples": SAMPLES, "heat": 0.1, "likelihood": "categorical"}
        options |= {"initial_std": 0.01, "prior_std": 1.0, "estimator": estimator}
        settings["bayesian"] = options
    return settings


def images_of(home: str) -> Images:
    """Images that lie on the device `home`, for networks on the GPU."""

    def split(count: int) -> Split:
        images = torch.zeros(count, 3, 32, 32, dtype=torch.uint8, device=home)
        return Split(images, torch.zeros(count, dtype=torch.int64, device=home))

    mean, std = torch.ones(2, 3, device="cuda").unbind()
    return Images("made up", tuple("0123456789"), split(BATCH * STEPS), split(BATCH), mean, std)


class Killed(Exception):
    pass


def keep_shapes(patches: pytest.MonkeyPatch) -> None:
    """Keep of a checkpoint its tensors' shapes, since there are no values; the first one kills."""
    kept = {}

    def write(path, tensors, progress):
        if path not in kept:
            shapes = {name: (t.shape, t.dtype) for name, t in tensors.items()}
            kept[path] = shapes, json.loads(json.dumps(progress))
            path.touch()
            raise Killed

    def read(path, device):
        shapes, progress = kept[path]
        rows = shapes.items()
        return {n: torch.zeros(s, dtype=t, device=device) for n, (s, t) in rows}, progress

    patches.setattr(checkpoints, "write_tensors", write)
    patches.setattr(checkpoints, "read_tensors", read)


def build(model: str, case: str) -> tuple[list[networks.Network], dict]:
    """The networks of a case, and their settings."""
    inference, estimator, members = {**ALONE, **OTHERS}[case]
    settings = settings_of(inference, estimator)
    built = []
    for seed in range(members):
        template = models.build(model, SHAPE, 10, seed=seed).to("cuda")
        built.append(networks.build(inference, template, settings.get("bayesian")))
    return built, settings


class Asked(NamedTuple):
    """What a run has asked of the device.

    operations: kernels of a step.
    step, rest: where the CPU waited, in a step and in the rest of an epoch and of the run.
    trace: all of it.
    record: of the first network's training.
    """

    operations: int
    step: Counter
    rest: Counter
    trace: Trace
    record: records.Record


def run(
    model: str,
    case: str,
    folder: Path,
    patches: pytest.MonkeyPatch,
    home: str = "cuda",
    **compute: bool,
) -> Asked:
    """Train, kill, restore, train on, test and score; `home` is where images are."""
    marks = []

    class Pace(devices.Pace):
        def step(self) -> None:
            super().step()
            marks.append((trace.operations, Counter(trace.waits)))

    def train() -> records.Record:
        marks.clear()
        streams = [["run", str(number)] for number in range(len(trained))]
        checkpointing = checkpoints.Checkpointing(folder / "checkpoint", 0, "the same")
        return loop.train(trained, images_of(home), settings, streams, checkpointing)[0]

    keep_shapes(patches)
    patches.setattr(devices, "Pace", Pace)
    patches.setattr(engine, "multiply_adds", lambda *_: 0)  # slow here, and without effect on GPUs
    patches.setattr(batches, "hold_out", lambda split, *_: (split, split[:0]))  # looks at values
    share = 10 if case.endswith("pruned") else 1  # since masks have no values, either
    patches.setattr(survivors, "count", lambda layer: layer.numel() // share)
    with fake_cuda() as trace:
        trained, settings = build(model, case)
        settings["compute"] = compute
        with pytest.raises(Killed):
            train()
        record = train()
        (operations, waits), (operations_then, waits_then) = marks[-2:]
        rest = trace.waits - waits_then
        for network in trained:
            network.load(network.state(), masks.ones(models.prunable(network.template)))
            moments = network.moments()
            for scorer in SCORERS.values():
                if scorer.score and scorer.fits(kinds.kind_of(settings).offers):
                    for name in network.mask:
                        scores = scorer.score(*(moments[need][name] for need in scorer.needs))
                        assert scores.device.type == "cuda"
    return Asked(operations_then - operations, waits_then - waits, rest, trace, record)


def expected_waits(case: str) -> dict[str, int]:
    """Outside of steps: for the epoch's means; then for a test, a pass over the test images for the
    error bars, and the predictions that are kept."""
    trained = 2 if case.endswith("side by side") else 1
    return {
        "training.loop.train": 1,
        "training.metrics.evaluate": 2 * trained,
        "training.evaluation.final": trained,
    }


@pytest.mark.parametrize(("model", "case"), CASES)
def test_a_gpu_would_be_asked_for_what_is_expected(model, case, monkeypatch, tmp_path):
    asked = run(model, case, tmp_path, monkeypatch)
    assert asked.record.resumed_at_steps == [1] and len(asked.record.history) == 1
    assert not asked.trace.not_channels_last
    assert not asked.trace.names.keys() & REFUSED
    # Estimators draw on the GPU, each sample by a generator that the CPU makes from its seed.
    assert asked.step == ({"inference.estimators.seeds": 1} if case in ESTIMATORS else {})
    assert asked.rest == expected_waits(case)
    budget = json.loads(BUDGET_FILE.read_text())[model][case]
    assert asked.operations <= (1 + SLACK) * budget
    assert asked.operations >= (1 - SLACK) * budget, "fewer: write the budget anew"


@pytest.mark.parametrize("case", ["bayesian", "deterministic, 2 side by side"])
def test_a_data_set_in_main_memory_is_waited_for_nowhere(case, monkeypatch, tmp_path):
    asked = run("resnet8_slim", case, tmp_path, monkeypatch, home="cpu")
    assert asked.step == {} and not asked.trace.not_channels_last
    assert asked.rest == expected_waits(case)


@pytest.mark.parametrize("case", CAPTURED)
@pytest.mark.parametrize("model", FAMILIES)
def test_a_graph_holds_a_whole_step(model, case, monkeypatch, tmp_path):
    """All of its kernels, without a wait, a copy from the CPU or a strange random number."""
    monkeypatch.setattr(steps, "UNRECORDED", 1)
    asked = run(model, case, tmp_path, monkeypatch, capture=True)
    first, second = asked.trace.graphs
    assert first is second and asked.operations == LAUNCHES
    assert asked.step == {} and asked.rest == expected_waits(case)
    budget = json.loads(BUDGET_FILE.read_text())[model][case]
    assert first.operations == pytest.approx(budget, rel=SLACK)


@pytest.mark.parametrize(
    ("case", "home", "reason"),
    [("flipout", "cuda", "seeds that the CPU reads"), ("bayesian", "cpu", "in main memory")],
)
def test_what_a_graph_cannot_hold_is_said(case, home, reason, monkeypatch, tmp_path, capsys):
    asked = run("lenet5", case, tmp_path, monkeypatch, home, capture=True)
    assert not asked.trace.graphs
    said = capsys.readouterr().out
    assert "compute.capture: steps are not recorded, since" in said and reason in said


def test_faults_are_found():
    """A tensor or a generator on the wrong device, a wait, a convolution of another layout."""
    with fake_cuda() as trace:
        images = torch.zeros(2, 3, 8, 8, device="cuda")
        with pytest.raises(RuntimeError, match="two different devices"):
            images * torch.zeros(8)
        with pytest.raises(AssertionError, match="a generator on cpu"):
            torch.randn(3, device="cuda", generator=torch.Generator())
        assert images.sum().item() == 1.0 and images.cpu().device.type == "cpu"
        assert trace.waits == {"outside": 2}
        torch.zeros(3).to("cuda", non_blocking=True)  # pageable memory is waited for all the same
        assert trace.waits == {"outside": 3}
        torch.conv2d(images, torch.zeros(4, 3, 3, 3, device="cuda"))
        assert trace.not_channels_last == {"outside": 1}
        with pytest.raises(Exception, match="nonzero"):
            images.nonzero()


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (lambda images: images.sum().item(), "a wait in a graph"),
        (lambda images: images * torch.zeros(8).to("cuda"), "a copy between devices"),
        (lambda images: images.normal_(generator=torch.Generator("cuda")), "does not know"),
    ],
)
def test_faults_in_a_graph_are_found(step, fault):
    with fake_cuda():
        images = torch.zeros(2, 3, 8, 8, device="cuda")
        with pytest.raises(AssertionError, match=fault):
            Recording(step, (images,), [])


if __name__ == "__main__":
    counts: dict[str, dict[str, int]] = {}
    for model, case in CASES:
        with pytest.MonkeyPatch.context() as patches, tempfile.TemporaryDirectory() as folder:
            asked = run(model, case, Path(folder), patches)
            counts.setdefault(model, {})[case] = asked.operations
    BUDGET_FILE.write_text(json.dumps(counts, indent=1) + "\n")
