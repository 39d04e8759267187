"""The plan of table 2, of exported networks."""

from collections.abc import Mapping, Sequence

from bayesian_lottery.findings.figures import selection
from bayesian_lottery.findings.figures.plans import parts
from bayesian_lottery.findings.figures.selection import Node, NothingToShow
from bayesian_lottery.findings.figures.shown import Exports


def exports(nodes: Sequence[Node], options: Mapping, searches: Mapping[str, str]) -> Exports:
    """Table 2: size, predictions and speed of exported networks. It takes no options."""
    selection.with_defaults(options, {})
    if not nodes:
        raise NothingToShow("No level is exported; `exports` in the configuration names some.")
    return Exports(parts.everything(nodes))
