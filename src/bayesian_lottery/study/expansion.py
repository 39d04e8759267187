"""The configuration expanded into trunks, branches and nodes."""

import difflib
import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Literal

from bayesian_lottery.errors import InputError, choice, few
from bayesian_lottery.inference.kinds import Kind
from bayesian_lottery.models import MODELS
from bayesian_lottery.study import choices
from bayesian_lottery.study.nodes import COORDINATES, LATER, Node, Trunk
from bayesian_lottery.tickets.branches import Branch
from bayesian_lottery.tickets.patterns import PATTERNS
from bayesian_lottery.tickets.scores import SCORERS, scorers_for
from bayesian_lottery.tickets.searches import SEARCHES

LARGEST = 50_000  # networks in a study: of 10,000 Snakemake makes a graph in half a minute


def expand(config: Mapping) -> list[Trunk]:
    """All trunks of the configuration: of each entry, every combination of its coordinates.

    Raises:
        InputError: a coordinate is not known, a scorer does not fit the inference, a trunk is
            listed twice, or there are too many.
    """
    entries: dict[Trunk, int] = {}  # of each trunk, whatever its levels, the entry that lists it
    trunks = []
    total = 0
    for number, entry in enumerate(config["trunks"], 1):
        lists = {name: as_list({**LATER, **entry}[name]) for name in COORDINATES}
        factors = {name: len(values) for name, values in lists.items()}
        factors |= {"seeds": len(entry["seeds"]), "levels": entry["levels"] + 1}
        total = _sum(f"trunks entry {number}", total, factors)
        for values in itertools.product(*lists.values()):
            coordinates = dict(zip(COORDINATES, values, strict=True))
            _check(f"trunks entry {number}", coordinates, config)
            _check_levels(f"trunks entry {number}", coordinates["pattern"], entry["levels"])
            _check_watched(f"trunks entry {number}", coordinates["search"], entry["levels"], config)
            for seed in entry["seeds"]:
                trunk = Trunk(**coordinates, seed=seed, levels=entry["levels"])
                key = replace(trunk, levels=0)
                if key in entries:
                    raise InputError(
                        f"trunks: {trunk}, is listed twice (entries {entries[key]} and {number})."
                    )
                entries[key] = number
                trunks.append(trunk)
    return trunks


def as_list(value: object) -> list:
    """A value that may be given alone as the list that it stands for."""
    return value if isinstance(value, list) else [value]


def _sum(entry: str, before: int, factors: Mapping[str, int]) -> int:
    """`before` and the networks of an entry, the product of `factors`; raise if they are too many.

    Dense networks that trunks share are counted each time.
    """
    count = math.prod(factors.values())
    if before + count > LARGEST:
        parts = [f"{number:,} {name}" for name, number in factors.items() if number > 1]
        raise InputError(
            f"{entry}: {' x '.join(parts)} = {count:,} networks, with those before "
            f"{before + count:,}; a study has at most {LARGEST:,}, for Snakemake plans no more in "
            "minutes."
        )
    return before + count


def _check(entry: str, coordinates: Mapping[str, str], config: Mapping) -> None:
    """Raise `InputError` for the first coordinate of an entry's combination that is not allowed."""
    allowed: dict[str, Collection[str]] = {
        "dataset": config["datasets"],
        "model": choices.models(config),
        "curriculum": config["curricula"],
        "inference": choices.inferences(config),
        "scorer": SCORERS,
        "rewind": choices.rewinds(config),
        "search": choices.searches(config),
        "ranking": choices.rankings(config),
        "pattern": PATTERNS,
    }
    for name, values in allowed.items():
        if coordinates[name] not in values:
            raise choice(f"{entry}.{name}", coordinates[name], values)
    inference, scorer = coordinates["inference"], coordinates["scorer"]
    kind = choices.kind(config, inference)
    offers, why = kind.offered(choices.options(config, inference))
    if not SCORERS[scorer].fits(offers):
        fitting = ", ".join(scorers_for(offers))
        raise InputError(
            f"{entry}.scorer: {scorer!r} cannot score {inference} networks"
            f"{why and f', of which {why}'}; use {fitting} there."
        )
    _check_plain(entry, config, coordinates["model"], inference)
    search, rewind = coordinates["search"], coordinates["rewind"]
    kind_of_search = SEARCHES[choices.search_kind(config, search)]
    if kind_of_search.moves and not kind.moves:
        raise InputError(
            f"{entry}.search: {search!r} moves masks in training, and {inference} networks are of "
            "one mask; use a search that does not."
        )
    for name in ("ranking", "pattern"):
        if coordinates[name] != LATER[name] and name not in kind_of_search.takes:
            raise InputError(
                f"{entry}.{name}: {coordinates[name]!r} does not go with the search {search!r}; "
                f"use {LATER[name]} there."
            )
    origins = {name: choices.rewind(config, name).origin for name in choices.rewinds(config)}
    if origins[rewind] == "early" and not kind.early:
        others = ", ".join(name for name, origin in origins.items() if origin != "early")
        raise InputError(
            f"{entry}.rewind: {rewind!r} goes back to an early step of training, and {inference} "
            f"networks have none; use {others} there."
        )
    if kind_of_search.scored in ("own", "watched") and origins[rewind] == "previous":
        others = ", ".join(name for name, origin in origins.items() if origin != "previous")
        raise InputError(
            f"{entry}.rewind: {rewind!r} goes back to the trained network that was scored, and the "
            f"search {search!r} has none; use {others} there."
        )


def _check_plain(entry: str, config: Mapping, model: str, inference: str) -> None:
    """Refuse an inference that takes plain models only for another model."""
    known = MODELS.get(model)
    if choices.kind(config, inference).plain and not (known and known.plain):
        kind = choices.kind_name(config, inference)
        fitting = few(name for name, spec in MODELS.items() if spec.plain)
        raise InputError(
            f"{entry}.inference: {kind} takes chains of linear layers and convolutions without "
            f"norms, and {model} is none; use {fitting} there."
        )


def _check_levels(entry: str, pattern: str, levels: int) -> None:
    last = PATTERNS[pattern].levels
    if last is not None and levels > last:
        raise InputError(
            f"{entry}.levels: {levels} is too many, for the pattern {pattern} has so few densities "
            f"that its last level is {last}."
        )


def _check_watched(entry: str, search: str, levels: int, config: Mapping) -> None:
    last = choices.search_options(config, search).get("levels")
    if last is not None and levels > last:
        raise InputError(
            f"{entry}.levels: {levels} is too many, for the search {search!r} watches {last} "
            "levels; under 'searches' its option 'levels' says how many."
        )


def branches(config: Mapping, trunks: Iterable[Trunk]) -> list[Node]:
    """The nodes of all branches: of each entry, at its levels of all trunks that it matches.

    Raises:
        InputError: a branch is not known or does not fit the trunks' inference, a level lies beyond
            a trunk, an entry matches no trunk or names a value that none has, a node is listed
            twice, or there are too many.
    """
    trunks = list(trunks)
    total = sum(trunk.levels + 1 for trunk in trunks)
    kinds = choices.branch_kinds(config)
    entries: dict[Node, int] = {}  # of each node the entry that lists it
    for number, entry in enumerate(config["branches"], 1):
        key = f"branches entry {number}"
        matched = matching(key, entry, trunks)
        for name in as_list(entry["branch"]):
            if name not in kinds:
                raise choice(f"{key}.branch", name, kinds)
            for trunk in matched if kinds[name].inference else ():
                _check_plain(f"{key}, {name}", config, trunk.model, str(kinds[name].inference))
            starts = dict.fromkeys(  # trunks share their dense level
                node
                for trunk in matched
                for node in _levels(key, name, kinds[name], trunk, entry["levels"])
            )
            factors = {"levels of its trunks": len(starts), "replicates": entry["replicates"]}
            total = _sum(f"{key}, {name}", total, factors)
            for node in (
                replace(node, branch=name, replicate=replicate)
                for node in starts
                for replicate in range(entry["replicates"])
            ):
                if entries.setdefault(node, number) != number:
                    raise InputError(
                        f"branches: {node.folder} is listed twice "
                        f"(entries {entries[node]} and {number})."
                    )
    return list(entries)


def matching(key: str, entry: Mapping, trunks: Collection[Trunk]) -> list[Trunk]:
    """The trunks that have the coordinates and seeds that the entry `key` names.

    Raises:
        InputError: it names a value that no trunk has, or no trunk has all that it names.
    """
    matched, attributes = list(trunks), {name: name for name in COORDINATES} | {"seeds": "seed"}
    for name, attribute in attributes.items():
        if name not in entry:
            continue
        values, present = as_list(entry[name]), {getattr(trunk, attribute) for trunk in trunks}
        for value in values:
            if value not in present:
                raise choice(f"{key}.{name}", value, present)
        matched = [trunk for trunk in matched if getattr(trunk, attribute) in values]
    if not matched:
        raise InputError(f"{key}: it matches no trunk; see its coordinates.")
    return matched


def _levels(
    key: str, branch: str, kind: Branch, trunk: Trunk, levels: Literal["all"] | list[int]
) -> list[Node]:
    """The trunk's nodes at `levels`, which may be "all", for a kind of branch that fits it."""
    if kind.of not in (None, trunk.inference):
        raise InputError(
            f"{key}: {branch} starts from {kind.of} trunks, but it matches {trunk}; "
            f"add 'inference: {kind.of}'."
        )
    if kind.dataset == trunk.dataset:
        raise InputError(
            f"{key}: {branch} is trained on {kind.dataset}, and so is {trunk}, which it matches; "
            "add 'dataset:' with others."
        )
    if kind.seed == trunk.seed:
        raise InputError(
            f"{key}: {branch} takes the initial weights of seed {kind.seed}, and so does {trunk}, "
            "which it matches; add 'seeds:' with others."
        )
    if levels == "all":
        return trunk.nodes()
    if max(levels) > trunk.levels:
        raise InputError(
            f"{key}.levels: {max(levels)} lies beyond level {trunk.levels}, the last of {trunk}."
        )
    chosen = set(levels)
    return [node for node in trunk.nodes() if node.level in chosen]


def nodes(config: Mapping) -> list[Node]:
    """The nodes of all trunks and branches, each once, trunks first.

    Raises:
        InputError: as `expand` and `branches` do.
    """
    trunks = expand(config)
    levels = (node for trunk in trunks for node in trunk.nodes())
    return [*dict.fromkeys(levels), *branches(config, trunks)]


def find(known: Mapping[str, Node], folder: str) -> Node:
    """The node of `folder`, among nodes by their folders.

    Raises:
        InputError: there is none; the message says the trunk's last level, or what comes closest.
    """
    if folder in known:
        return known[folder]
    trunk = folder.rpartition("/")[0]
    levels = [
        node.level
        for path, node in known.items()
        if path.rpartition("/")[0] == trunk and not node.branch
    ]
    if max(levels, default=0) > 0:
        raise InputError(f"{folder} is not in the configuration: its last level is {max(levels)}.")
    close = difflib.get_close_matches(folder, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    raise InputError(f"{folder} is not in the configuration{hint}")


def packs(config: Mapping, nodes: Iterable[Node], size: int) -> list[list[Node]]:
    """Nodes that can train side by side, at most `size` together, none waiting for another.

    They have the architecture, inference, data, curriculum, level, ranking and pattern in common
    (so that their masks cover the same layers), and are all of trunks or all branches; seeds,
    scorers, rewinds, searches and kinds of branches may differ. A network whose mask moves, of
    another size than its level's, that keeps draws, or whose kind has a loop of its own, trains
    alone. Pools do not train.
    """
    alike: dict[tuple, list[Node]] = {}
    for node in (node for node in nodes if not choices.members(config, node)):
        moves = choices.makes_mask(config, node) and choices.search(config, node).moves
        kind = choices.kind(config, choices.trained(config, node).inference)
        own_loop = kind.own_draws or kind.trainer != Kind.trainer
        alone = node if moves or own_loop or choices.branch(config, node).network else None
        own = (node.level, not node.branch, node.ranking, node.pattern, alone)
        key = (*choices.alike(config, node), *own)
        alike.setdefault(key, []).append(node)
    return [
        members[start : start + size]
        for members in alike.values()
        for start in range(0, len(members), size)
    ]
