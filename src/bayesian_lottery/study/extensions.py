"""Methods of one's own: Python files that add entries to the registries as they are imported.

The configuration's `extensions` names the files. A file is imported as the module
`lottery_extension_<its name>`, by the workflow and by the jobs of nodes that use an entry of it;
it should load torch only inside functions, so that the workflow starts fast.
"""

from collections.abc import Sequence
from pathlib import Path

from bayesian_lottery import imports
from bayesian_lottery.errors import InputError, short
from bayesian_lottery.findings.figures import FIGURES
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.models import MODELS
from bayesian_lottery.study import owners
from bayesian_lottery.tickets.branches import BRANCHES, MASKS, WEIGHTS
from bayesian_lottery.tickets.objectives import OBJECTIVES
from bayesian_lottery.tickets.patterns import PATTERNS
from bayesian_lottery.tickets.rankings import RANKINGS
from bayesian_lottery.tickets.rewinds import REWINDS
from bayesian_lottery.tickets.scores import SCORERS
from bayesian_lottery.tickets.searches import SEARCHES

REGISTRIES: dict[str, dict] = {
    "branch": BRANCHES,
    "figure": FIGURES,
    "kind": KINDS,
    "mask": MASKS,
    "model": MODELS,
    "objective": OBJECTIVES,
    "pattern": PATTERNS,
    "ranking": RANKINGS,
    "rewind": REWINDS,
    "scorer": SCORERS,
    "search": SEARCHES,
    "weights": WEIGHTS,
}


def load(files: Sequence[str | Path]) -> None:
    """Import each file that is not imported yet.

    Raises:
        InputError: a file is missing or fails, has another one's name, replaces an entry that
            there was before, or adds one of another type than all others.
    """
    for file in map(str, files):
        before = {which: dict(registry) for which, registry in REGISTRIES.items()}
        imports.load_file("extensions", file)
        for which, registry in REGISTRIES.items():
            for key, entry in registry.items():
                if key not in before[which]:
                    _check_type(file, which, key, entry)
                    owners.add(which, key, file)
                elif entry is not before[which][key]:
                    raise InputError(f"extensions: {short(file)} replaces the {which} {key!r}.")


def _check_type(file: str, which: str, name: object, entry: object) -> None:
    """Refuse an entry of another type than the package's own; of functions all will do."""
    own = next(iter(REGISTRIES[which].values()))
    if callable(own):
        fits, wanted = callable(entry), "function"
    else:
        fits, wanted = isinstance(entry, type(own)), type(own).__name__
    if not fits:
        raise InputError(
            f"extensions: the {which} {short(name)} of {short(file)} is of type "
            f"{type(entry).__name__}; it must be a {wanted}."
        )
