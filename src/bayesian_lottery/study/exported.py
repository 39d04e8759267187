"""Which levels are exported, and how: the configuration's section `exports`."""

from collections.abc import Iterable, Mapping

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.study.expansion import matching
from bayesian_lottery.study.formats import FORMATS
from bayesian_lottery.study.nodes import Node, Trunk

SETTINGS = ("formats", "batches", "samples", "seconds")


def exported(config: Mapping, trunks: Iterable[Trunk]) -> dict[Node, dict]:
    """The nodes that are exported: of each entry its levels of all trunks that it matches.

    Returns:
        Of each node the `SETTINGS` of its entry.

    Raises:
        InputError: a format is not known, a level lies beyond a trunk, an entry matches no trunk
            or names a value that none has, or a node is listed twice.
    """
    trunks = list(trunks)
    entries: dict[Node, int] = {}
    told: dict[Node, dict] = {}
    for number, entry in enumerate(config.get("exports", []), 1):
        key = f"exports entry {number}"
        for name in entry["formats"]:
            if name not in FORMATS:
                raise choice(f"{key}.formats", name, FORMATS)
        matched = matching(key, entry, trunks)
        for trunk in matched:
            if max(entry["levels"]) > trunk.levels:
                raise InputError(
                    f"{key}.levels: {max(entry['levels'])} lies beyond level {trunk.levels}, the "
                    f"last of {trunk}."
                )
        levels = set(entry["levels"])
        for node in (n for trunk in matched for n in trunk.nodes() if n.level in levels):
            if entries.setdefault(node, number) != number:
                raise InputError(
                    f"exports: {node.folder} is listed twice (entries {entries[node]} and "
                    f"{number})."
                )
            told[node] = {name: entry[name] for name in SETTINGS}
    return told
