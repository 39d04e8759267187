"""Gradients a second, and effective samples a second, of the exact samplers.

    python benchmarks/samplers.py gradients          # by the form of products, on MNIST
    python benchmarks/samplers.py chains             # ours beside a peer's NUTS, on digits

The mask is that of global magnitude pruning in six rounds of short training. `gradients` times the
full-batch gradient of each form in turn, on one thread, by processor time, so that other work on
the machine counts less; "of masked" is the median over turns of the time as a share of the masked
dense form's. `chains` runs the same posterior, data, warm-up and depth by our NUTS and by a peer's
as a user would write it: numpyro's where it is installed (pip install numpyro==0.22.0), else
blackjax's with its window adaptation, each over dense weights times the mask. The effective sample
size is that of the log-likelihood of the test images, by arviz-stats; seconds are those of
processor time after compilation.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import sampler_peers

ROUNDS = 6
os.environ["XLA_FLAGS"] = (
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # before JAX is imported
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["gradients", "chains"])
    parser.add_argument("--data", type=Path, help="a decoded data set (digits)")
    parser.add_argument("--model", default=None, help="lenet_300_100, for chains mlp_20")
    parser.add_argument("--densities", nargs="+", type=float, default=None)
    parser.add_argument("--images", type=int, default=10_000, help="at most (10,000)")
    parser.add_argument("--steps", type=int, default=600, help="of training a round (600)")
    parser.add_argument("--turns", type=int, default=9, help="times a gradient is timed (9)")
    parser.add_argument("--draws", type=int, default=200, help="after as many of warm-up (200)")
    parser.add_argument("--depth", type=int, default=7, help="of NUTS (7)")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    images = data(options.data)
    (gradients if options.part == "gradients" else chains)(images, options)


def data(file: Path | None):
    """A decoded data set; digits if no file is given."""
    from bayesian_lottery.data import decoded

    if file:
        return decoded.load(file)
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images * 255 / 16).byte()[:, None]
    labels = torch.from_numpy(digits.target).long()
    train, test = (decoded.Split(pixels[part], labels[part]) for part in parts(len(labels)))
    means = decoded.channel_statistics(train.images)
    return decoded.Images("digits", tuple("0123456789"), train, test, *means)


def parts(count: int):
    return slice(0, count * 4 // 5), slice(count * 4 // 5, count)


def ticket(images, model: str, density: float, steps: int):
    """Survivors after `ROUNDS` of training and pruning, and the row trained under the last mask."""
    import torch

    from bayesian_lottery import models
    from bayesian_lottery.data.decoded import normalise
    from bayesian_lottery.inference.deterministic import DeterministicNetwork
    from bayesian_lottery.tickets import masks

    def template():
        return models.build(model, images.image_shape, len(images.classes), seed=0)

    initial = template().state_dict()
    mask = masks.ones(models.prunable(template(), classifier=True))
    stream = torch.Generator().manual_seed(0)
    for round_ in range(ROUNDS + 1):
        network = DeterministicNetwork(template())
        network.load(initial, mask)
        optimizer = torch.optim.Adam(network.parameter_groups(0.0), lr=2e-3)
        for _ in range(steps):
            rows = torch.randint(len(images.train), (128,), generator=stream)
            inputs = normalise(images.train.images[rows], images.mean, images.std)
            logits = network.logits(inputs, network.weights(), network.noise(1))[0]
            torch.nn.functional.cross_entropy(logits, images.train.labels[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
        if round_ < ROUNDS and density < 1:
            weights = network.state()
            share = 1 - density ** (1 / ROUNDS)
            mask = masks.prune(mask, {name: weights[name].abs() for name in mask}, share)
    return network.survivors, network.weight.detach()


def gradients(images, options: argparse.Namespace) -> None:
    import jax
    import numpy as np

    from bayesian_lottery.data.decoded import normalise
    from bayesian_lottery.sampling.density import arrange, log_likelihood
    from bayesian_lottery.sampling.layout import FORMS, layout_of

    model = options.model or "lenet_300_100"
    print("| model | images | density | form | ms | of masked | gradients a second |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for density in options.densities or [1, 0.1, 0.01]:
        survivors, row = ticket(images, model, density, options.steps)
        chosen = images.train[: options.images]
        inputs = normalise(chosen.images, images.mean, images.std)
        forms: list[tuple] = []
        spent: dict[str, list[float]] = {}
        for form in sorted(FORMS, key=lambda form: form != "masked"):
            if form == "sparse" and density > 0.2:
                continue
            layout = layout_of(survivors, form)
            function = jax.jit(jax.value_and_grad(log_likelihood(layout)))
            given = row.numpy(), arrange(layout, inputs, chosen.labels)
            jax.block_until_ready(function(*given))
            forms.append((form, function, given))
            spent[form] = []
        for _ in range(options.turns):
            for form, function, given in forms:
                started = time.process_time()
                jax.block_until_ready(function(*given))
                spent[form].append(time.process_time() - started)
        for form, times in spent.items():
            share = statistics.median(np.array(times) / np.array(spent["masked"]))
            ms = 1e3 * statistics.median(times)
            print(
                f"| {model} | {len(chosen)} | {density} | {form} | {ms:.3g} | {share:.2f} "
                f"| {1e3 / ms:.3g} |",
                flush=True,
            )


def chains(images, options: argparse.Namespace) -> None:
    model, density = options.model or "mlp_20", (options.densities or [0.2])[0]
    survivors, row = ticket(images, model, density, options.steps)
    print("| NUTS | draws | gradients | gradients a second | effective samples | a second |")
    print("| --- | --- | --- | --- | --- | --- |")
    rates = []
    try:
        import numpyro  # noqa: F401

        peer = ("numpyro, dense weights x mask", sampler_peers.with_numpyro)
    except ImportError:
        peer = ("blackjax, dense weights x mask", sampler_peers.with_blackjax)
    for name, run in (("ours", ours), peer):
        likelihoods, taken, seconds = run(survivors, row, images, options)
        size = effective(likelihoods)
        rates.append(size / seconds)
        print(
            f"| {name} | {len(likelihoods)} | {taken} | {taken / seconds:.0f} | {size:.0f} "
            f"| {size / seconds:.3g} |",
            flush=True,
        )
    print(f"\nours to the peer: {rates[0] / rates[1]:.2f} in effective samples a second")


def effective(values) -> float:
    from arviz_stats.base import array_stats

    return float(array_stats.ess(values[None], chain_axis=0, draw_axis=1))


def ours(survivors, row, images, options):
    """Test log-likelihoods of draws, gradients and seconds, warm-up included."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from bayesian_lottery.data.decoded import normalise
    from bayesian_lottery.inference.monte_carlo import Nuts
    from bayesian_lottery.sampling.density import arrange, log_likelihood
    from bayesian_lottery.sampling.kernels import of_nuts
    from bayesian_lottery.sampling.layout import layout_of
    from bayesian_lottery.sampling.warmup import SAMPLING, Sampler, schedule

    layout = layout_of(survivors)
    chosen = images.train[: options.images]
    given = arrange(layout, normalise(chosen.images, images.mean, images.std), chosen.labels)
    likelihood = log_likelihood(layout)
    kernel = of_nuts(Nuts(depth=options.depth))
    sampler = Sampler(
        kernel,
        lambda position, given: likelihood(position, given) - 0.5 * position @ position,
        0.8,
        jax.random.PRNGKey(0),
    )
    chain = sampler.start(jnp.asarray(row.numpy()), given)
    stages = [*schedule(options.draws), *[SAMPLING] * options.draws]
    jax.block_until_ready(sampler.next(chain, 0, stages[0], False, given))
    rows, taken, started = [], 0, time.process_time()
    for number, stage in enumerate(stages):
        last = number + 1 == options.draws
        chain, told = sampler.next(chain, number, stage, last, given)
        taken += int(told.gradients)
        rows.append(np.array(chain.point.position))
    seconds = time.process_time() - started
    return sampler_peers.tested(survivors, np.stack(rows[options.draws :]), images), taken, seconds


if __name__ == "__main__":
    main()
