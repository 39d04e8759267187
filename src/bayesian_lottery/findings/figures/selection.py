"""Which part of a study or table a figure shows, and the words that say so.

A node is a mapping with the tables' coordinates; a `Where` maps some of them to the values that
rows must have. Choosing works on nodes alone, so that the workflow knows before anything is trained
what a figure will show; this module needs neither pandas nor matplotlib.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bayesian_lottery.errors import InputError, choice, short
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.study import schema
from bayesian_lottery.study.nodes import LATER
from bayesian_lottery.tickets.rewinds import REWINDS

if TYPE_CHECKING:
    import pandas as pd

Node = Mapping[str, Any]
Where = dict[str, Any]

# Options that figures take; None leaves the choice to `panels` or `scorer`.
SELECTION = {"dataset": None, "models": None, "curriculum": None, "rewind": None}
# What each option may be, as JSON Schema; of densities their figures say what each may be.
_TEXT, _WHOLE = {"type": ["string", "null"]}, {"type": ["integer", "null"]}
_TEXTS = ("dataset", "model", "curriculum", "rewind", "scorer", "search", "branch", "layer")
_ALLOWED: dict[str, Mapping] = {
    **dict.fromkeys((*_TEXTS, "statistic", "metric"), _TEXT),
    **dict.fromkeys(("level", "seed"), _WHOLE),
    "models": {"type": ["array", "null"], "items": {"type": "string"}},
    "levels": {"type": ["array", "null"], "items": {"type": "integer"}},
    "densities": {"type": ["array", "null"]},
}

# What level 0 does not have, for all trunks share it.
_PRUNED_BY = ("scorer", "rewind", *LATER)


class NothingToShow(InputError):
    """There is nothing that the figure could show; the message says what is missing."""


def inferences(nodes: Iterable[Node]) -> list[str]:
    """The names of the inferences that there are: kinds first, then variants by name."""
    present = {node["inference"] for node in nodes}
    return [name for name in KINDS if name in present] + sorted(present - KINDS.keys())


def words(inference: str) -> str:
    """What a figure calls an inference."""
    return KINDS[inference].words if inference in KINDS else inference


def with_defaults(given: Mapping, defaults: Mapping) -> dict:
    """`defaults` under `given`; an `InputError` names an option not known or of another type."""
    for name, value in given.items():
        if name not in defaults:
            if not defaults:
                raise InputError(f"figure option: {short(name)} is not known; it takes none.")
            raise choice("figure option", name, defaults)
        schema.check_options(f"figure option {name}", value, _ALLOWED.get(name, {}))
    return {**defaults, **given}


def matching(nodes: Iterable[Node], where: Where) -> list[Node]:
    """The nodes of `where`; those of level 0 however it is pruned."""
    return [
        node
        for node in nodes
        if all(
            node[name] == value or (name in _PRUNED_BY and node["level"] == 0)
            for name, value in where.items()
        )
    ]


def rows(frame: pd.DataFrame, where: Where) -> pd.DataFrame:
    """The rows of `where`, as `matching` has it."""
    for name, value in where.items():
        same = frame[name].isna() if value is None else (frame[name] == value).fillna(False)
        frame = frame[same | (frame["level"] == 0)] if name in _PRUNED_BY else frame[same]
    return frame


def pruned(nodes: Iterable[Node]) -> list[Node]:
    """The nodes of trunks above level 0."""
    found = [node for node in nodes if node["branch"] is None and node["level"] > 0]
    if not found:
        raise NothingToShow("There is no pruned trunk, only dense networks or branches.")
    return found


def branches(nodes: Iterable[Node], names: Collection[str]) -> list[Node]:
    """The nodes of the branches `names` from pruned levels."""
    found = [node for node in nodes if node["branch"] in names and node["level"] > 0]
    if not found:
        raise NothingToShow(f"There is no branch {' or '.join(names)} from a pruned level.")
    return found


def varied(nodes: Sequence[Node], column: str, within: Sequence[str]) -> list[Node]:
    """The nodes that differ in `column` from others that share all coordinates `within`."""
    values: dict[tuple, set] = {}
    for node in nodes:
        values.setdefault(tuple(node[name] for name in within), set()).add(node[column])
    found = [node for node in nodes if len(values[tuple(node[name] for name in within)]) > 1]
    if not found:
        raise NothingToShow(f"There are no trunks that differ in their {column} alone.")
    return found


def panels(nodes: Sequence[Node], options: Mapping) -> list[Where]:
    """What each model's panel shows: its dataset and model, its curriculum, its rewind.

    A figure shows one dataset, and of each model one curriculum and one rewind: those that
    `options` name. Where they name none, it is the rewind `imp` if there is one, and otherwise
    what has the most nodes; of each model, so that one with a curriculum of its own is not lost.
    A coordinate that is not among the `options` at all is left open.

    Raises:
        NothingToShow: no node is left; the message says what there is instead.
    """
    shared = {"dataset": options["dataset"] or _commonest(nodes, "dataset")}
    left = matching(nodes, shared)
    first = next(iter(REWINDS))  # the papers' own
    preferred = first if any(node["rewind"] == first for node in left) else None
    found = []
    for model in options["models"] or sorted({node["model"] for node in left}):
        where = {**shared, "model": model}
        for column, default in {"curriculum": None, "rewind": preferred}.items():
            of_model = matching(left, where)
            if column in options and of_model:
                where[column] = options[column] or default or _commonest(of_model, column)
        if matching(left, where):
            found.append(where)
    if not found:
        wanted = ", ".join(f"{name} {options[name]}" for name in SELECTION if options.get(name))
        names = ("dataset", "model", "curriculum", "rewind")
        present = {name: {node[name] for node in nodes} - {None} for name in names}
        there = "; ".join(
            f"{name} {', '.join(sorted(own))}" for name, own in present.items() if own
        )
        raise NothingToShow(f"There is nothing to show of {wanted}; there is {there}.")
    return found


def _commonest(nodes: Sequence[Node], column: str) -> str:
    # The most nodes make the main part of a study; of equals, the first by name.
    counts = Counter(node[column] for node in nodes)
    return min(counts, key=lambda value: (-counts[value], value))


def scorers(nodes: Sequence[Node], wanted: str | None = None) -> dict[str, str]:
    """The scorer shown of each inference: the one wanted if it has it, else snr or the first.

    Raises:
        NothingToShow: no inference has the scorer wanted.
    """
    present: dict[str, set[str]] = {name: set() for name in inferences(nodes)}
    for node in nodes:
        present[node["inference"]].add(node["scorer"])
    if wanted and not any(wanted in names for names in present.values()):
        there = ", ".join(sorted(set().union(*present.values()))) or "none"
        raise NothingToShow(f"There is no trunk of scorer {wanted}; there is {there}.")
    chosen = {}
    for inference, names in present.items():
        preferred = (name for name in (wanted, "snr", min(names)) if name in names)
        chosen[inference] = next(preferred)
    return chosen


def describe(shown: Sequence[Where], nodes: Iterable[Node]) -> str:
    """What panels show of `nodes`: "cifar10, curriculum paper, rewind imp, 3 seeds"."""
    nodes = list(nodes)
    words = [shown[0]["dataset"]]
    for column in ("curriculum", "rewind"):
        models: dict[str, list[str]] = {}
        for where in shown:
            if column in where:
                models.setdefault(where[column], []).append(where["model"])
        if len(models) == 1:
            words.append(f"{column} {next(iter(models))}")
        elif models:
            each = (f"{value} ({', '.join(names)})" for value, names in models.items())
            words.append(f"{column} {', '.join(each)}")
    words.append(count(shown, nodes, "seed"))
    if any(node["replicate"] is not None for node in nodes):
        words.append(f"{count(shown, nodes, 'replicate')} of each branch")
    return ", ".join(words)


def count(shown: Sequence[Where], nodes: Sequence[Node], column: str) -> str:
    """How many values of `column` the panels have: "1 seed", "2 seeds", "1 to 2 seeds"."""
    values = ({node[column] for node in matching(nodes, where)} - {None} for where in shown)
    counts = sorted({len(found) for found in values})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} {column}" if counts == [1] else f"{span} {column}s"
