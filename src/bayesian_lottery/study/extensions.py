"""Methods of one's own: Python files that add entries to the registries as they are imported.

The configuration's `extensions` names the files. A file is imported as the module
`lottery_extension_<its name>`, by the workflow and by the jobs of nodes that use an entry of it;
it should load torch only inside functions, so that the workflow starts fast.
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from bayesian_lottery.errors import InputError, short
from bayesian_lottery.findings.figures import FIGURES
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.models import MODELS
from bayesian_lottery.study import owners
from bayesian_lottery.tickets.branches import BRANCHES, MASKS, WEIGHTS
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
        InputError: a file is missing or fails, has another one's name, or replaces an entry that
            there was before.
    """
    for file in map(str, files):
        name = f"lottery_extension_{Path(file).stem}"
        if name in sys.modules:
            if Path(str(sys.modules[name].__file__)).resolve() != Path(file).resolve():
                raise InputError(f"extensions: two files have the name {short(Path(file).name)}.")
            continue
        before = {which: dict(registry) for which, registry in REGISTRIES.items()}
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None or not Path(file).is_file():
            raise InputError(f"extensions: {short(file)} is not a Python file that is there.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            what = short(f"{type(error).__name__}: {error}")
            raise InputError(
                f"extensions: {short(file)} fails as it is imported ({what})."
            ) from error
        for which, registry in REGISTRIES.items():
            for key, entry in registry.items():
                if key not in before[which]:
                    owners.add(which, key, file)
                elif entry is not before[which][key]:
                    raise InputError(f"extensions: {short(file)} replaces the {which} {key!r}.")
