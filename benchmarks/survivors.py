"""What a training step costs by the density of its mask, beside an earlier commit's step.

    git worktree add ../before COMMIT
    python benchmarks/survivors.py --before ../before

Each case is a process of its own; all take their steps in turn, on one thread, and say how much
processor time they took, so that other work on the machine counts less. Images are made up.
"of the dense step" is the median over turns of the time as a share of the first case's: the earlier
commit's step without a mask or, with none given, ours. Operations are those that a step asks of
torch; megabytes are what they read and write, views left out, and the optimiser's state and one
step's noise.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

COLUMNS = (
    "model", "inference", "code", "density", "ms", "of the dense step", "operations",
    "MB moved", "optimiser, MB", "noise, MB",
)  # fmt: skip
HERE = Path(__file__).parents[1]
UNTIMED = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="a worktree of an earlier commit")
    parser.add_argument("--models", nargs="+", default=["lenet_300_100"], metavar="MODEL")
    parser.add_argument("--inference", nargs="+", default=["deterministic", "bayesian"])
    parser.add_argument("--densities", nargs="+", type=float, default=[1, 0.1, 0.01])
    parser.add_argument(
        "--masks", choices=["even", "magnitude"], default="even",
        help="random with every layer at the density, or the largest initial weights of all (even)",
    )  # fmt: skip
    parser.add_argument("--shape", nargs=3, type=int, default=[1, 28, 28], help="an image's")
    parser.add_argument("--batch", type=int, default=128, help="images (128)")
    parser.add_argument("--samples", type=int, default=10, help="weight samples (10)")
    parser.add_argument("--turns", type=int, default=21, help="times a step is timed (21)")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker)
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for model in options.models:
        for inference in options.inference:
            for row in measure(model, inference, options):
                print(f"| {' | '.join(map(str, row))} |", flush=True)


def measure(model: str, inference: str, options: argparse.Namespace) -> list[list]:
    """The table's rows of one model and inference."""
    samples = options.samples if inference == "bayesian" else 1
    shared = {"model": model, "inference": inference, "shape": options.shape, "samples": samples}
    shared |= {"batch": options.batch, "masks": options.masks}
    places = {"before": options.before, "now": HERE} if options.before else {"now": HERE}
    cases = [(code, density) for code in places for density in options.densities]
    workers = [start({**shared, "density": density}, places[code]) for code, density in cases]
    for worker in workers:
        ask(worker, "warm up")
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(options.turns):
        for worker, spent in zip(workers, times, strict=True):
            spent.append(ask(worker, "step")["seconds"])
    rows = []
    for (code, density), worker, spent in zip(cases, workers, times, strict=True):
        facts = ask(worker, "facts")
        worker.communicate()
        share = statistics.median(a / b for a, b in zip(spent, times[0], strict=True))
        ms = 1e3 * statistics.median(spent)
        sizes = [f"{facts[name] / 1e6:.2f}" for name in ("moved", "optimiser", "noise")]
        counted = facts["operations"]
        rows.append([model, inference, code, density, f"{ms:.3g}", f"{share:.2f}", counted, *sizes])
    return rows


def start(case: dict, place: Path) -> subprocess.Popen:
    """A worker on a case, with the package of the worktree at `place`."""
    settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(place.resolve() / "src")}
    return subprocess.Popen(
        [sys.executable, __file__, "--worker", json.dumps(case)],
        env={**os.environ, **settings},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def ask(worker: subprocess.Popen, what: str) -> dict:
    assert worker.stdin and worker.stdout
    try:
        worker.stdin.write(what + "\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline())
    except (BrokenPipeError, json.JSONDecodeError):
        sys.exit("A worker has ended; its error is above.")


def work(case: dict) -> None:
    """A worker: do what each line on standard input says; answer in JSON."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    from bayesian_lottery.training import devices
    from bayesian_lottery.training.engine import keep_freed_memory

    class Counter(TorchDispatchMode):
        count, moved = 0, 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            self.count += 1
            if not function.is_view:
                values = tree_leaves((args, kwargs, result))
                self.moved += sum(
                    v.numel() * v.element_size()
                    for v in values
                    if type(v) is torch.Tensor and v.layout is torch.strided
                )
            return result

    torch.set_num_threads(1)
    devices.set_algorithms(True)
    keep_freed_memory()
    step, optimizer, noise = build(case)
    for line in sys.stdin:
        answer: dict = {}
        if line == "warm up\n":
            for _ in range(UNTIMED):
                step()
        elif line == "step\n":
            started = time.process_time()
            step()
            answer["seconds"] = time.process_time() - started
        else:
            with Counter() as counter:
                step()
            state = [v for entry in optimizer.state.values() for v in entry.values()]
            tensors = [tensor for tensor in state if isinstance(tensor, torch.Tensor)]
            answer |= {"operations": counter.count, "moved": counter.moved}
            answer["optimiser"] = sum(tensor.nbytes for tensor in tensors)
            answer["noise"] = noise().nbytes
        print(json.dumps(answer), flush=True)


def build(case: dict):
    """A case's step, its optimiser, and what draws its noise.

    Only what has been the same for long is used of the package, so that earlier commits run too.
    """
    import torch

    from bayesian_lottery import models
    from bayesian_lottery.inference import networks
    from bayesian_lottery.randomness import generator
    from bayesian_lottery.tickets import masks
    from bayesian_lottery.training.curricula import Curriculum
    from bayesian_lottery.training.engine import Engine, Plan

    shape, density = tuple(case["shape"]), case["density"]
    template = models.build(case["model"], shape, 10, seed=0)
    mask = masks.ones(models.prunable(template))
    if density < 1:
        weights = template.state_dict()
        scores = {name: weights[name].abs() for name in mask}
        mask = masks.prune(mask, scores, 1 - density)
        if case["masks"] == "even":
            mask = masks.shuffle_even(mask, generator("mask"))
    network = networks.build(case["inference"], template, {"initial_std": 0.01, "prior_std": 1.0})
    network.load(network.state(), mask)
    engine = Engine(network, shape, Plan())
    curriculum = Curriculum(1, "adam", 1e-3, 1e-4, case["batch"], (), 0.1, 0, 0.9)
    optimizer = curriculum.build_optimizer(network.parameter_groups(1e-4))
    stream = generator("steps")
    images = torch.randn(case["batch"], *shape, generator=stream)
    labels = torch.randint(10, (case["batch"],), generator=stream)

    def noise():
        return network.noise(case["samples"], stream)

    def step():
        engine.gradients(images, labels, noise(), "categorical", 0.1 / 50_000)
        optimizer.step()
        optimizer.zero_grad()

    return step, optimizer, noise


if __name__ == "__main__":
    main()
