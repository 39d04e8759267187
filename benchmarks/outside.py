"""Published runs on MNIST beside independent implementations of the same experiment.

    python benchmarks/outside.py --root data --seeds 5

Iterative magnitude pruning by torch.nn.utils.prune, and Bayesian training by torch-blue's modules
and loss, in plain loops (independent.py) with the settings of config/studies/mnist.yaml; beside
them what published/mnist has of the same networks. Each row: means over seeds, and how far they are
apart in standard errors. The images are read by torchvision.
"""

import argparse
from pathlib import Path

import independent
import numpy as np
import torch

from bayesian_lottery.findings import published, results
from bayesian_lottery.meter import Meter
from bayesian_lottery.study import configuration

ROOT = Path(__file__).parents[1]
CURRICULUM = "short"
WIDTHS = (784, 300, 100, 10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder with MNIST (data)")
    parser.add_argument("--seeds", type=int, default=5, help="networks of each kind (5)")
    parser.add_argument("--levels", type=int, default=10, help="of pruning, at most 10 (10)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    config = configuration.merged([ROOT / "config/studies/mnist.yaml"])
    told = config["curricula"][CURRICULUM]
    by = independent.Recipe(
        told["epochs"], told["learning_rate"], told["batch_size"], told["milestones"]
    )
    bayesian, tests = config["bayesian"], config["evaluation"]
    training, test = images(options.root)
    kept = round(len(training[1]) * (1 - config["datasets"]["mnist"]["validation"]))

    pruned, variational, meter = [], [], Meter("network", 2 * options.seeds)
    for seed in range(options.seeds):
        torch.manual_seed(1000 + seed)
        chosen = torch.randperm(len(training[1]))[:kept]
        own = training[0][chosen], training[1][chosen]
        pruned.append(
            independent.pruned_iteratively(
                independent.perceptron(*WIDTHS), own, test, by, options.levels,
                config["prune_fraction"],
            )
        )  # fmt: skip
        meter.show(2 * seed + 1)
        variational.append(
            independent.by_torch_blue(
                independent.perceptron(*WIDTHS), own, test, by, bayesian["samples"],
                bayesian["heat"], bayesian["initial_std"], tests["samples"],
            )
        )  # fmt: skip
        meter.show(2 * seed + 2)
    meter.close()

    runs = results.trunk_rows(published.read(ROOT / "published/mnist").runs)
    print("| network | measured | published | independent | standard errors apart |")
    print("| --- | --- | --- | --- | --- |")
    imp = (runs["inference"] == "deterministic") & (runs["rewind"] != "lrr")
    for level, theirs in enumerate(np.array(pruned).T):
        rows = runs[imp & (runs["level"] == level)].drop_duplicates("seed")
        name = f"deterministic, {100 * rows['density'].mean():.1f} %"
        print(row(name, "accuracy, %", 100 * rows["final_accuracy"], 100 * theirs))
    dense = runs[(runs["inference"] == "bayesian") & (runs["level"] == 0)].drop_duplicates("seed")
    accuracies, nlls = np.array(variational).T
    print(row("Bayesian, dense", "accuracy, %", 100 * dense["final_accuracy"], 100 * accuracies))
    print(row("Bayesian, dense", "NLL", dense["final_nll"], nlls))


def images(root: Path) -> tuple[independent.Data, independent.Data]:
    """MNIST's training and test images, normalised, and labels."""
    from torchvision.datasets import MNIST

    training, test = (MNIST(root, train=train) for train in (True, False))
    std, mean = (part / 255 for part in torch.std_mean(training.data.float()))

    def scaled(part: MNIST) -> independent.Data:
        return part.data[:, None].float().div(255).sub(mean).div(std), part.targets

    return scaled(training), scaled(test)


def row(name: str, measured: str, ours, theirs) -> str:
    """A line of the table, of one value a seed on either side."""
    difference, error = independent.apart(ours, theirs)
    sides = (f"{np.mean(e):.3f} ± {np.std(e, ddof=1):.3f} ({len(e)})" for e in (ours, theirs))
    return f"| {name} | {measured} | {' | '.join(sides)} | {difference / error:+.1f} |"


if __name__ == "__main__":
    main()
