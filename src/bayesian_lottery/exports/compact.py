"""Compact networks: a trained network without the units in which pruning has left no part.

Cutting changes no prediction, up to rounding, in evaluation mode. What goes:

- a unit that nothing reads: all weights that leave it are pruned;
- a unit that is always 0: all weights that enter it are pruned, and what its bias and norm make of
  that is the same for all weight samples and not above 0 before the ReLU;
- in deterministic networks, a unit that always has the same value: its part goes into the biases of
  its readers, if they are linear layers or convolutions without padding. With padding, the part
  differs at the image's borders, and the unit stays.

Bayesian biases are random and never pruned, so a unit with one is no constant. Each cut may free
other units, hence cutting goes on until nothing changes. Every group keeps at least one unit.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors
from bayesian_lottery.inference import bayesian, networks
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.models.layers import BatchNorm2d, Conv2d, Linear
from bayesian_lottery.models.units import Units, groups_of

Kept = list[Tensor]  # of every group of units, the indices of those that are kept


def cut(template: nn.Module, state: Mapping[str, Tensor], multiple: int = 1) -> tuple[State, Kept]:
    """The state without the units that can be cut, and which units of each group it keeps.

    Args:
        template: the whole model.
        state: its state as `Network.state` gives it, pruned weights (mu, sigma) = (0, 0) or 0.
        multiple: keep channels and neurons in multiples of this, or all of a group: convolutions of
            odd widths can be slower than wider ones (docs/sparse.md).
    """
    groups, state = groups_of(template), dict(state)
    kept = [torch.arange(_count(state, units)) for units in groups]
    changed = True
    while changed:
        changed = False
        for index, units in enumerate(groups):
            constant, values = _constants(state, units, template)
            gone = _superfluous(state, units, template, constant, values)
            _spare(gone, multiple if units.size == 1 else 1)
            if gone.any():
                _fold(state, units, torch.where(gone & constant, values[-1], 0))
                remaining = (~gone).nonzero().squeeze(1)
                _select(state, units, remaining, len(gone))
                kept[index] = kept[index][remaining]
                changed = True
    return state, kept


def _spare(gone: Tensor, multiple: int) -> None:
    """Take units out of `gone` (bool) until a multiple of `multiple` stays, above 0, or all do."""
    left = int((~gone).sum())
    wanted = -(-max(left, 1) // multiple) * multiple
    gone[gone.nonzero().squeeze(1)[: wanted - left]] = False


def _superfluous(
    state: State, units: Units, template: nn.Module, constant: Tensor, values: Tensor
) -> Tensor:
    """Which units of a group can be cut (bool)."""
    gone = ~_read(state, units) | (constant & (values == 0).all(0))
    if len(units.steps) == 1 and all(_takes_constants(state, r, template) for r in units.readers):
        gone |= constant
    return gone


def _takes_constants(state: State, reader: str, template: nn.Module) -> bool:
    """Whether a constant input is the same as a bias: there is one, not random, and no padding."""
    layer = template.get_submodule(reader)
    return f"{reader}.bias" in state and not (isinstance(layer, Conv2d) and any(layer.padding))


def _read(state: State, units: Units) -> Tensor:
    """Which units of a group any weight reads (bool)."""
    count = _count(state, units)
    read = torch.zeros(count, dtype=torch.bool)
    for reader in units.readers:
        columns = _survivors(state, f"{reader}.weight").unflatten(1, (count, -1))
        read |= columns.transpose(0, 1).flatten(1).any(1)
    return read


def _constants(state: State, units: Units, template: nn.Module) -> tuple[Tensor, Tensor]:
    """Which units have the same value for all images and weight samples, and which one.

    Returns:
        bool (units), and the values after each step (steps, units), float64, where that is True.
    """
    count = _count(state, units)
    value = torch.zeros(count, dtype=torch.float64)
    if units.activation is None:
        return torch.zeros(count, dtype=torch.bool), value[None]
    constant, values = torch.ones(count, dtype=torch.bool), []
    for step in units.steps:
        for layer, *norms in step:
            entered = _survivors(state, f"{layer}.weight").flatten(1).any(1)
            random = bayesian.parameter_names(f"{layer}.bias")[0] in state
            constant &= ~entered & (not random)
            output = state.get(f"{layer}.bias", torch.zeros(count)).double()
            for norm in norms:
                mean, variance, scale, shift = (
                    state[f"{norm}.{part}"].double()
                    for part in ("running_mean", "running_var", "weight", "bias")
                )
                eps = _batch_norm(template, norm).eps
                output = (output - mean) * scale / (variance + eps).sqrt() + shift
            value = value + output
        value = units.activation(value)
        values.append(value)
    return constant, torch.stack(values)


def _batch_norm(template: nn.Module, name: str) -> BatchNorm2d:
    norm = template.get_submodule(name)
    assert isinstance(norm, BatchNorm2d)  # as `Units.steps` says
    return norm


def _fold(state: State, units: Units, values: Tensor) -> None:
    """Add to the readers' biases what units of constant `values` (units, float64) give them.

    A reader without a certain bias gets nothing here: its constants are 0 or it does not read them.
    """
    for reader in units.readers:
        bias = state.get(f"{reader}.bias")
        if bias is not None:
            columns = state[f"{reader}.weight"].unflatten(1, (len(values), -1)).flatten(2).sum(2)
            state[f"{reader}.bias"] = (bias + columns.double() @ values).to(bias.dtype)


def _select(state: State, units: Units, kept: Tensor, count: int) -> None:
    """Keep the units `kept` (indices) of the group's `count`, in all tensors that have them."""
    for layers, dim in ((units.writers, 0), (units.readers, 1)):
        for layer in layers:
            for name in _tensors(state, layer):
                if state[name].dim() > dim:
                    blocks = state[name].unflatten(dim, (count, -1))
                    state[name] = blocks.index_select(dim, kept).flatten(dim, dim + 1)


def _tensors(state: Mapping[str, Tensor], layer: str) -> list[str]:
    """The names of a layer's own tensors."""
    return [name for name in state if name.rpartition(".")[0] == layer]


def _count(state: State, units: Units) -> int:
    return len(_survivors(state, f"{units.writers[0]}.weight")) // units.size


def _survivors(state: Mapping[str, Tensor], weight: str) -> Tensor:
    """Which entries of the plain model's parameter `weight` are not pruned (bool, its shape).

    A surviving weight that happens to be 0 counts as pruned, and has no more effect than that.
    """
    if weight in state:
        return state[weight] != 0
    mean, log_std = bayesian.parameter_names(weight)
    return (state[mean] != 0) | (state[log_std] != -torch.inf)


def units_in(template: nn.Module) -> int:
    """How many units a model has, of those that can ever be cut."""
    state = template.state_dict()
    return sum(_count(state, units) for units in groups_of(template))


def narrow(template: nn.Module, widths: Mapping[str, Sequence[int]]) -> None:
    """Give layers of `template` fewer units, in place; their values become 0.

    Args:
        widths: (outputs, inputs) of convolutions and linear layers, (channels,) of batch norms, by
            name; as `widths_of` gives them.
    """
    for name, sizes in widths.items():
        layer = template.get_submodule(name)
        if isinstance(layer, BatchNorm2d):
            (layer.num_features,) = sizes
        elif isinstance(layer, Conv2d):
            layer.out_channels, layer.in_channels = sizes
        elif isinstance(layer, Linear):
            layer.out_features, layer.in_features = sizes
        for key, tensor in layer.state_dict(keep_vars=True).items():
            part = tensor.detach()
            for dim, size in enumerate(sizes[: tensor.dim()]):
                part = part.narrow(dim, 0, size)
            part = torch.zeros_like(part, device="cpu")
            setattr(layer, key, nn.Parameter(part) if isinstance(tensor, nn.Parameter) else part)


def widths_of(template: nn.Module, state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """What `narrow` needs to make of `template` a model for `state`."""
    widths = {}
    for name, layer in template.named_modules():
        if isinstance(layer, (Conv2d, Linear)):
            widths[name] = list(_survivors(state, f"{name}.weight").shape[:2])
        elif isinstance(layer, BatchNorm2d):
            widths[name] = list(state[f"{name}.weight"].shape)
    return widths


def network_of(
    what: object,
    template: nn.Module,
    state: Mapping[str, Tensor],
    kind: str,
    options: Mapping,
) -> Network:
    """The network of a saved state, to predict with; its mask is read off the pruned weights.

    Args:
        what: names the state in errors.
        template: a model of the state's shapes; used from now on.
        state: as `Network.state` gives it.
        kind, options: of inference; see `networks.build`.

    Raises:
        InputError: the state's names or shapes are not the network's.
    """
    network = networks.build(kind, template, options)
    networks.check_shapes(what, state, network.state())
    mask = {name: _survivors(state, name) for name in models.prunable(template, classifier=True)}
    network.load(state, mask)
    template.eval()
    return network


def noise_for(whole: Network, kept: Kept, noise: Tensor) -> Tensor:
    """The part (S, n') of the whole network's `noise` (S, n) that belongs to what `cut` keeps."""
    if noise.shape[1] == 0:  # deterministic
        return noise
    places = whole.survivors.named(torch.arange(noise.shape[1]), fill=-1)
    for units, remaining in zip(groups_of(whole.template), kept, strict=True):
        _select(places, units, remaining, _count(places, units))
    columns = torch.cat([part.flatten() for part in places.values()])
    return noise[:, columns[columns >= 0]]


def load(path: str | Path) -> tuple[Network, dict]:
    """A compact network to predict with, and what `export.export` wrote beside it.

    Raises:
        InputError: the file is missing, truncated or no compact network.
    """
    state, metadata = read_tensors(path)
    try:
        classes = len(metadata["classes"])
        template = models.build(metadata["model"], tuple(metadata["image_shape"]), classes)
        narrow(template, metadata["widths"])
        kind = metadata["inference"]
        # Files of before other inferences had any say "bayesian", and null where there are none.
        options = metadata["options"] if "options" in metadata else metadata["bayesian"] or {}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: not a compact network ({error!r}).") from None
    return network_of(path, template, state, kind, options), metadata
