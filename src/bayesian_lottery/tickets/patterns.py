"""Patterns: what is pruned together. To add one, add an entry to `PATTERNS`.

torch is imported where it is used, so that the workflow can read the names quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.masks import Mask
from bayesian_lottery.tickets.rankings import Contest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bayesian_lottery.models.units import Units

Scores = Mapping[str, "Tensor"]
Prune = Callable[[Mask, Scores, Sequence[Contest], "nn.Module"], Mask]


@dataclass(frozen=True)
class Pattern:
    """What is pruned together.

    Attributes:
        words: what sentences call it.
        prune: from a mask, scores of its shapes (float64, on the CPU), the contests that share its
            layers among them, and the plain model, to the next mask. It keeps the contests' counts,
            or says by what rule it comes close.
        units: whether it prunes whole units: of models that say what theirs are, in masks that
            cover the classifier whatever the ranking, since its inputs are units.
        levels: the last level that a trunk can have; None is any.
    """

    words: str
    prune: Prune
    units: bool = False
    levels: int | None = None


def prune(
    pattern: str, mask: Mask, scores: Scores, contests: Sequence[Contest], model: nn.Module
) -> Mask:
    """The next mask by a key of `PATTERNS`; the lowest scores are pruned first.

    Raises:
        InputError: a survivor's score is NaN, the names or shapes differ, or the pattern does not
            know the model.
    """
    return PATTERNS[pattern].prune(mask, masks.comparable(mask, scores), contests, model)


def weights(mask: Mask, scores: Scores, contests: Sequence[Contest], model: nn.Module) -> Mask:
    """Single weights, to the exact count of every contest."""
    pruned = dict(mask)
    for contest in contests:
        own = {name: mask[name] for name in contest.names}
        pruned |= masks.keep(own, scores, contest.count)
    return pruned


def units(mask: Mask, scores: Scores, contests: Sequence[Contest], model: nn.Module) -> Mask:
    """Whole neurons, channels and attention heads, as `models.units` has them.

    A unit's score is the mean of those of its surviving incoming weights (of convolutional filters:
    Li et al., "Pruning filters for efficient ConvNets", 2017), over all layers that a residual sum
    couples. With it go all weights to and from it, so that `exports.compact` can cut it out.

    Units go until no more weights are left than all contests together keep, which is less than a
    unit below that count. Within a contest the lowest go first; several contests lose units evenly,
    by their shares. A unit is in the contest of its layer, and of several coupled ones in that of
    the least share. Every group keeps a unit at least, and layers without units stay as they are.
    """
    from bayesian_lottery.models.units import groups_of

    groups = groups_of(model)
    contest_of = {name: contest for contest in contests for name in contest.names}
    entered: dict[Contest, list[tuple[float, int, int]]] = {contest: [] for contest in contests}
    alive = []
    for index, group in enumerate(groups):
        names = [name for name in _weights(group.writers) if name in mask]
        means = _means(mask, scores, names, group.size)
        alive.append(len(means))
        own = min((contest_of[name] for name in names), key=lambda contest: contest.share)
        entered[own] += [(mean, index, unit) for unit, mean in means.items()]
    order = sorted(
        ((place + 1) / (len(entries) * contest.share), index, unit)
        for contest, entries in entered.items()
        if contest.share
        for place, (_, index, unit) in enumerate(sorted(entries))
    )
    pruned = {name: layer.clone() for name, layer in mask.items()}
    surplus = masks.survivors(mask) - sum(contest.count for contest in contests)
    for _, index, unit in order:
        if surplus > 0 and alive[index] > 1:
            surplus -= _cut(pruned, groups[index], unit)
            alive[index] -= 1
    return pruned


def _weights(layers: Sequence[str]) -> list[str]:
    return [f"{layer}.weight" for layer in layers]


def _means(mask: Mask, scores: Scores, names: Sequence[str], size: int) -> dict[int, float]:
    """The mean score of each unit that is left: of its surviving rows, `size` in each layer."""
    rows = [mask[name].unflatten(0, (-1, size)).flatten(1) for name in names]
    values = [scores[name].unflatten(0, (-1, size)).flatten(1) for name in names]
    kept = sum(layer.sum(1) for layer in rows)
    total = sum(own.where(layer, 0).sum(1) for own, layer in zip(values, rows, strict=True))
    pairs = enumerate(zip(total.tolist(), kept.tolist(), strict=True))
    return {unit: value / count for unit, (value, count) in pairs if count}


def _cut(mask: Mask, group: Units, unit: int) -> int:
    """Prune all weights to and from a unit of a group, in place; how many there were."""
    count = 0
    for names, dim in ((_weights(group.writers), 0), (_weights(group.readers), 1)):
        for name in (name for name in names if name in mask):
            size = group.size if dim == 0 else mask[name].shape[1] // _units(mask, group)
            part = mask[name].narrow(dim, unit * size, size)
            count += int(part.sum())
            part.zero_()
    return count


def _units(mask: Mask, group: Units) -> int:
    """How many units a group has in the whole model."""
    names = (name for name in _weights(group.writers) if name in mask)
    return len(mask[next(names)]) // group.size


def n_of_m(n: int, m: int) -> Prune:
    """The `n` best of every `m` weights that follow one another along the input dimension.

    Of a convolution that is input channels, at each place of its window. As sparse tensor cores
    take them for 2 of 4 (Mishra et al., "Accelerating sparse deep neural networks", 2021). Layers
    whose inputs are no multiple of `m` stay as they are, as do those of a share of 0.
    """

    def prune(mask: Mask, scores: Scores, contests: Sequence[Contest], model: nn.Module) -> Mask:
        pruned = dict(mask)
        for name in (name for contest in contests if contest.share for name in contest.names):
            if mask[name].shape[1] % m == 0:
                pruned[name] = _best(mask[name], scores[name], n, m)
        return pruned

    return prune


def _best(layer: Tensor, scores: Tensor, n: int, m: int) -> Tensor:
    groups = scores.where(layer, float("-inf")).movedim(1, -1).unflatten(-1, (-1, m))
    lowest = groups.argsort(dim=-1, stable=True)[..., : m - n]  # of equal scores the first goes
    kept = layer.movedim(1, -1).unflatten(-1, (-1, m)).scatter(-1, lowest, False)
    return kept.flatten(-2).movedim(-1, 1).contiguous()


# The papers' pattern, which nodes have that name none.
FIRST = "weights"

PATTERNS: dict[str, Pattern] = {
    FIRST: Pattern("single weights", weights),
    "units": Pattern("neurons, channels and heads", units, units=True),
    "2of4": Pattern("two of every four inputs", n_of_m(2, 4), levels=1),
}


def name_of(settings: Mapping) -> str:
    """The pattern of a node of `settings`; unsaid, it is single weights."""
    return settings.get("pattern", FIRST)
