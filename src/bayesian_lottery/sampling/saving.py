"""A chain's checkpoint: its state, its network's draws so far, and what is known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from bayesian_lottery.inference.chains import ChainNetwork
from bayesian_lottery.sampling.warmup import Chain
from bayesian_lottery.training import checkpoints
from bayesian_lottery.training.checkpoints import Checkpointing


def save(
    checkpointing: Checkpointing, done: int, network: ChainNetwork, chain: Chain, told: dict
) -> None:
    """Write all of it after `done` draws; `told` is JSON."""
    leaves = jax.tree.leaves(chain)
    tensors = {f"chain.{i}": torch.from_numpy(np.array(leaf)) for i, leaf in enumerate(leaves)}
    tensors |= {f"network.{name}": each.detach() for name, each in network.tensors().items()}
    fingerprint = checkpointing.fingerprint
    checkpoints.save(
        checkpointing.path, tensors, {"fingerprint": fingerprint, "done": done, "told": told}
    )


def restore(
    checkpointing: Checkpointing, network: ChainNetwork, chain: Chain
) -> tuple[int, Chain, dict] | None:
    """What `save` wrote, with the network's draws put back; None if there is none that fits."""
    device = network.weight.device
    found = checkpoints.load(checkpointing.path, checkpointing.fingerprint, device)
    if found is None:
        return None
    tensors, progress = found
    for name, each in network.tensors().items():
        each.data.copy_(tensors[f"network.{name}"])
    leaves, form = jax.tree.flatten(chain)
    read = [jnp.asarray(tensors[f"chain.{i}"].cpu().numpy()) for i in range(len(leaves))]
    return progress["done"], jax.tree.unflatten(form, read), progress["told"]
