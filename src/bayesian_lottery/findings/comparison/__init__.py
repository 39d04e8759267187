"""Two tables of results against each other: another machine, another version, another lab.

Nodes are paired by the coordinates that both tables have, and claims by data set and model. The
module `tables` reads, `nodes` compares runs and `verdicts` claims, `page` says it in words.
"""

from bayesian_lottery.findings.comparison.nodes import compare
from bayesian_lottery.findings.comparison.page import page
from bayesian_lottery.findings.comparison.tables import Side, read, shared
from bayesian_lottery.findings.comparison.verdicts import verdicts

__all__ = ["Side", "compare", "page", "read", "shared", "verdicts"]
