"""What each figure shows of a study: functions from nodes and options to a plan, without drawing.

The workflow plans before anything is trained, and the drawing modules draw what was planned; so
both agree on what a figure can show. Every function raises `NothingToShow` where the nodes cannot
feed its figure, and `InputError` for options that are wrong.
"""

from bayesian_lottery.findings.figures.plans.branches import (
    ABLATIONS,
    TRANSPLANTED,
    TRANSPLANTS,
    ablations,
    randomisations,
    transplants,
)
from bayesian_lottery.findings.figures.plans.exports import exports
from bayesian_lottery.findings.figures.plans.posteriors import (
    agreement_table,
    agreements,
    chains,
    posteriors,
)
from bayesian_lottery.findings.figures.plans.trunks import (
    accuracy,
    curricula,
    layers,
    rewinds,
    sizes,
    times,
)
from bayesian_lottery.findings.figures.plans.ways import costs, distances, overlaps, ways

__all__ = [
    "ABLATIONS",
    "TRANSPLANTED",
    "TRANSPLANTS",
    "ablations",
    "accuracy",
    "agreement_table",
    "agreements",
    "chains",
    "costs",
    "curricula",
    "distances",
    "exports",
    "layers",
    "overlaps",
    "posteriors",
    "randomisations",
    "rewinds",
    "sizes",
    "times",
    "transplants",
    "ways",
]
