"""Arms: how networks on the mask of one ticket come to predict, whoever names them.

A study names its branches as it likes; what they are, their pieces say. So figures and claims find
the ticket itself, random initialisations and their ensembles, samplers and variational inference.

Nothing here needs torch or pandas: the workflow asks for it before anything is trained.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from bayesian_lottery.errors import choice
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.inference.kinds import KINDS, Kind
from bayesian_lottery.study.nodes import LATER, Node, filled, is_shown
from bayesian_lottery.tickets.branches import BRANCHES, SEEDS, Branch

_PLAIN = Branch()
KEPT = _PLAIN.mask  # the mask of a ticket itself
SOURCE = "deterministic"  # the inference whose tickets figures and claims are of
_TICKET = tuple(name for name in COORDINATES if name not in ("branch", "replicate"))
# The pieces in which arms may differ; all others they have as their ticket's trunk has them.
_OWN = ("mask", "weights", "inference", "curriculum", "of", "pool", "members")
_SAME = tuple(each.name for each in fields(Branch) if each.name not in _OWN)
_STARTS = {"initial": "", "reinitialised": "from random weights", "prior": "from the prior"}
_MASKS = {
    "shuffle_layerwise": "shuffled in layers",
    "shuffle_even": "shuffled evenly",
    "shuffle_global": "shuffled globally",
    "random": "drawn at random",
}


@dataclass(frozen=True)
class Arm:
    """What predicts, beside or instead of a ticket.

    Attributes:
        branch: its name; None is the ticket itself, as its trunk trained it.
        inference: the kind that trains it.
        mask, weights: as `tickets.branches.Branch` has them.
        pool: of a pool whose predictions it averages: a branch, or `SEEDS`.
        members: how many a pool averages.
    """

    branch: str | None
    inference: str
    mask: str = KEPT
    weights: str = _PLAIN.weights
    pool: str | None = None
    members: int | None = None

    @property
    def kind(self) -> Kind:
        return KINDS[self.inference]

    @property
    def samples(self) -> bool:
        """Whether it draws from the posterior: a sampler's chain, or a pool of such."""
        return self.kind.draws

    @property
    def short(self) -> str:
        """What it is in few words, without how many a pool averages."""
        plain = not self.kind.stochastic
        name = "ticket" if plain else self.kind.words
        if self.weights == "reinitialised":
            random = "ensemble" if self.pool else "random weights"
            name = random if plain else f"{name}, random"
        elif self.weights != _PLAIN.weights:
            name = f"{name}, {self.weights}"
        return name if self.mask == KEPT else f"{name}, {_MASKS.get(self.mask, self.mask)}"

    @property
    def words(self) -> str:
        """What figures and sentences call it; arms of different options may share it."""
        plain = not self.kind.stochastic
        name = "ticket" if plain else self.kind.words
        start = _STARTS.get(self.weights, f"from {self.weights} weights")
        if plain and self.weights == "reinitialised":
            name, start = "random weights", ""
        mask = "" if self.mask == KEPT else f"mask {_MASKS.get(self.mask, self.mask)}"
        parts = "chains" if self.samples else "seeds" if self.pool == SEEDS else "networks"
        pool = f"{self.members} {parts}" if self.pool else ""
        return ", ".join(filter(None, [f"{name} {start}".strip(), mask, pool]))


def arms(told: Mapping, source: str) -> list[Arm]:
    """The arms of tickets that trunks of the inference `source` hold, the ticket first.

    Args:
        told: what `study.arms` tells of a configuration.
        source: a kind of inference.

    Raises:
        InputError: a kind or a piece is not known.
    """
    own = {name: Branch(**pieces) for name, pieces in told.get("branches", {}).items()}
    kinds = told.get("inferences", {})
    branches = {**BRANCHES, **own}
    found = [Arm(None, source)]
    for name, branch in branches.items():
        if branch.pool == SEEDS:
            member = _PLAIN
        elif branch.pool:
            member = branches[branch.pool]
        else:
            member = branch
        if member.of not in (None, source) or branch.of not in (None, source):
            continue
        if any(getattr(member, piece) != getattr(_PLAIN, piece) for piece in _SAME):
            continue
        kind = kinds.get(member.inference, member.inference) or source
        if kind not in KINDS:
            raise choice(f"inference of the branch {name}", kind, KINDS)
        found.append(Arm(name, kind, member.mask, member.weights, branch.pool, branch.members))
    return found


def names(found: Iterable[Arm]) -> dict[Arm, str]:
    """What to call each; arms of the same words have the branches' names with them."""
    found = list(found)
    counts = Counter(arm.words for arm in found)
    return {
        arm: f"{arm.words} ({arm.branch})" if counts[arm.words] > 1 and arm.branch else arm.words
        for arm in found
    }


def labels(found: Iterable[Arm]) -> dict[Arm, str]:
    """What stands at the end of each one's line: `short`; with it, where arms share it, of a pool
    how many it averages, and of others their branches' names."""
    found = list(found)
    counts = Counter(arm.short for arm in found)
    more = {arm: f", {arm.members}" if arm.members else f" ({arm.branch})" for arm in found}
    shared = {arm for arm in found if counts[arm.short] > 1 and arm.branch}
    return {arm: arm.short + (more[arm] if arm in shared else "") for arm in found}


def whole(found: Sequence[Arm]) -> list[Arm]:
    """The arms without chains that a pool among them averages: those the pool stands for."""
    pooled = {arm.pool for arm in found if arm.samples}
    return [arm for arm in found if not (arm.samples and arm.branch in pooled)]


def references(found: Sequence[Arm]) -> list[Arm]:
    """The pools of a sampler's chains on the tickets' own masks, those of the best sampler there
    is: exact ones, whose loop is their own, before those by mini-batches, which are biased."""
    pools = [a for a in found if a.samples and a.pool and a.mask == KEPT]
    rank = {name: (kind.trainer == Kind.trainer, i) for i, (name, kind) in enumerate(KINDS.items())}
    best = min((arm.inference for arm in pools), key=rank.__getitem__, default=None)
    return [arm for arm in pools if arm.inference == best]


def compared(nodes: Iterable[Mapping[str, Any]], told: Mapping) -> list[tuple[Mapping, Mapping]]:
    """Each node that predicts on a ticket's own mask, with the sampler's on that mask.

    The sampler is the first of `references`, and of its replicates the first; it is compared with
    itself, too. Its chains, which it averages, are left out, and so are tickets without a sampler.

    Args:
        nodes: coordinates, as the tables have them; absent ones of `LATER` are what that means.
        told: what `study.arms` tells.
    """
    groups: dict[tuple, list[Mapping]] = {}
    for node in nodes:
        own = filled(node)
        if own["inference"] == SOURCE:
            groups.setdefault(tuple(own[name] for name in _TICKET), []).append(own)
    known = {arm.branch: arm for arm in arms(told, SOURCE) if arm.mask == KEPT}
    pairs: list[tuple[Mapping, Mapping]] = []
    for group in groups.values():
        there = {node["branch"] for node in group}
        present = [arm for name, arm in known.items() if name in there]
        samplers = references(present)
        if not samplers:
            continue
        shown = {arm.branch for arm in whole(present)}
        pools = [node for node in group if node["branch"] == samplers[0].branch]
        reference = min(pools, key=lambda node: node["replicate"])
        pairs += [(node, reference) for node in group if node["branch"] in shown]
    return pairs


def predictions(nodes: Iterable[Mapping], told: Mapping, tickets: Mapping, root: str) -> list[str]:
    """The predictions that the table of agreement compares.

    Args:
        nodes, told: as `compared` takes them.
        tickets: of which tickets it is, as `study.is_shown` takes it.
        root: the folder of results.
    """
    ours = [node for node in nodes if is_shown(node, tickets)]
    folders = dict.fromkeys(folder(node) for pair in compared(ours, told) for node in pair)
    return [f"{root}/{name}/predictions.safetensors" for name in folders]


def folder(node: Mapping) -> str:
    """Where a node's files lie, below the root of the results."""
    later = {name: value or LATER[name] for name, value in node.items() if name in LATER}
    return Node(**{**node, **later}).folder
