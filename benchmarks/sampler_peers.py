"""What samplers.py compares with: a peer's NUTS as a user would write it.

Each gives the log-likelihoods of the test images of its draws, the gradients that it took and the
seconds of processor time, warm-up included, compilation not.
"""

import time


def tested(survivors, rows, images):
    """The log-likelihood of the test images for each of the rows (D, n)."""
    import torch

    from bayesian_lottery.data.decoded import normalise
    from bayesian_lottery.training.engine import log_likelihoods

    inputs = normalise(images.test.images, images.mean, images.std)
    with torch.inference_mode():
        logits = survivors.logits(inputs, torch.as_tensor(rows))
        return log_likelihoods(logits, images.test.labels).double().sum(1).numpy()


def as_a_user(survivors, images, options):
    """Logits by dense weights times the mask, as a function of them; masks, and the data."""
    import jax
    import jax.numpy as jnp

    from bayesian_lottery.data.decoded import normalise

    names = [name.removesuffix(".weight") for name in survivors.shapes if name.endswith("weight")]
    kept = {name: jnp.asarray(survivors.mask[f"{name}.weight"].numpy()) for name in names}
    chosen = images.train[: options.images]
    inputs = normalise(chosen.images, images.mean, images.std).flatten(1)

    def logits(weights, biases, x):
        for name in names:
            x = x @ (weights[name] * kept[name]).T + biases[name]
            x = x if name == names[-1] else jax.nn.relu(x)
        return x

    return logits, kept, jnp.asarray(inputs.numpy()), jnp.asarray(chosen.labels.numpy())


def rows_of(survivors, weights, biases):
    """Rows (D, n) from dense weights (D, ...) and biases."""
    import numpy as np
    import torch

    named = {f"{name}.weight": each for name, each in weights.items()}
    named |= {f"{name}.bias": each for name, each in biases.items()}
    count = len(next(iter(named.values())))
    tensors = [{name: torch.from_numpy(np.array(each[i])) for name, each in named.items()}
               for i in range(count)]  # fmt: skip
    return torch.stack([survivors.collect(each) for each in tensors])


def start_of(survivors, row):
    import jax.numpy as jnp

    named = {name: jnp.asarray(each.numpy()) for name, each in survivors.named(row).items()}
    split = ({}, {})
    for name, each in named.items():
        split[name.endswith("bias")][name.rpartition(".")[0]] = each
    return split


def with_blackjax(survivors, row, images, options):
    """As `ours`, by blackjax's window adaptation and a scan."""
    import blackjax
    import jax
    import jax.numpy as jnp

    logits, _, x, y = as_a_user(survivors, images, options)

    def density(position):
        scores = jax.nn.log_softmax(logits(*position, x))
        prior = sum((each**2).sum() for each in jax.tree.leaves(position))
        return jnp.take_along_axis(scores, y[:, None], 1).sum() - 0.5 * prior

    warmup = blackjax.window_adaptation(blackjax.nuts, density, max_num_doublings=options.depth)

    @jax.jit
    def run(key, position):
        first, second = jax.random.split(key)
        (state, parameters), told = warmup.run(first, position, options.draws)
        step = blackjax.nuts(density, **parameters).step

        def one(state, key):
            state, info = step(key, state)
            return state, (state.position, info.num_integration_steps)

        keys = jax.random.split(second, options.draws)
        drawn = jax.lax.scan(one, state, keys)[1]
        return drawn, told.info.num_integration_steps.sum()

    compiled = run.lower(jax.random.PRNGKey(0), start_of(survivors, row)).compile()
    started = time.process_time()
    (positions, steps), warm = jax.block_until_ready(
        compiled(jax.random.PRNGKey(0), start_of(survivors, row))
    )
    seconds = time.process_time() - started
    rows = rows_of(survivors, *positions)
    return tested(survivors, rows, images), int(steps.sum() + warm), seconds


def with_numpyro(survivors, row, images, options):
    """As `ours`, by a model of numpyro's."""
    import jax
    import numpyro
    from numpyro import distributions
    from numpyro.infer import MCMC, NUTS, init_to_value

    logits, kept, x, y = as_a_user(survivors, images, options)

    def model():
        weights, biases = {}, {}
        for name, mask in kept.items():
            normal = distributions.Normal(0, 1)
            weights[name] = numpyro.sample(f"w.{name}", normal.expand(mask.shape).to_event(2))
            biases[name] = numpyro.sample(f"b.{name}", normal.expand(mask.shape[:1]).to_event(1))
        numpyro.sample("y", distributions.Categorical(logits=logits(weights, biases, x)), obs=y)

    weights, biases = start_of(survivors, row)
    values = {f"w.{name}": each for name, each in weights.items()}
    values |= {f"b.{name}": each for name, each in biases.items()}
    nuts = NUTS(model, max_tree_depth=options.depth, init_strategy=init_to_value(values=values))
    fields = ("num_steps",)
    seconds, taken = 0.0, 0
    chain = MCMC(nuts, num_warmup=options.draws, num_samples=options.draws, progress_bar=False)
    for _ in range(2):  # the first compiles
        started = time.process_time()
        chain.warmup(jax.random.PRNGKey(0), extra_fields=fields, collect_warmup=True)
        warm = int(chain.get_extra_fields()["num_steps"].sum())
        chain.run(chain.last_state.rng_key, extra_fields=fields)
        seconds = time.process_time() - started
        taken = warm + int(chain.get_extra_fields()["num_steps"].sum())
    drawn = chain.get_samples()
    pick = {kind: {n: drawn[f"{kind}.{n}"] for n in kept} for kind in ("w", "b")}
    return tested(survivors, rows_of(survivors, pick["w"], pick["b"]), images), taken, seconds
