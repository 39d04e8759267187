"""What configurations are made of: the schema, a small study that is right, words and values."""

import math
from pathlib import Path

import yaml

from bayesian_lottery import options
from bayesian_lottery.data.sources import SOURCES
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.models import MODELS
from bayesian_lottery.tickets.branches import BRANCHES, MASKS, WEIGHTS
from bayesian_lottery.tickets.objectives import OBJECTIVES
from bayesian_lottery.tickets.patterns import PATTERNS
from bayesian_lottery.tickets.rankings import RANKINGS
from bayesian_lottery.tickets.rewinds import REWINDS
from bayesian_lottery.tickets.scores import SCORERS
from bayesian_lottery.tickets.searches import SEARCHES

SCHEMA_FILE = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text())
# The schema leaves the options of an inference to its kind.
SCHEMA["properties"]["inferences"]["additionalProperties"]["properties"] |= options.schema(
    KINDS["bayesian"].options
)["properties"]
SCHEMA["properties"]["rewinds"]["additionalProperties"]["properties"] |= options.schema(
    REWINDS["late"].options
)["properties"]
SCHEMA["properties"]["objectives"]["additionalProperties"]["properties"] |= options.schema(
    OBJECTIVES["distilled"].options
)["properties"]
TRUNK = {
    "dataset": "digits",
    "model": "lenet_100_50",
    "curriculum": "short",
    "seeds": [0, 1],
    "levels": 3,
}
STUDY = {
    "datasets": {"digits": {"source": "digits"}, "other": {"source": "cifar10", "root": "data"}},
    "curricula": {
        "short": {"epochs": 8, "learning_rate": 0.01},
        "long": {"epochs": 20, "learning_rate": 0.1, "optimizer": "sgd", "milestones": [10]},
    },
    "inferences": {"cold": {"kind": "bayesian", "heat": 0.01}},
    "rankings": {"mixed": {"kind": "layerwise", "shares": {"classifier": 0.1}}},
    "searches": {"rigl": {"kind": "dynamic", "growth": "gradient"}},
    "rewinds": {"soon": {"kind": "late", "steps": 2}},
    "objectives": {"soft": {"kind": "distilled", "temperature": 2.0}},
    "branch_kinds": {"swapped": {"mask": "shuffle_even", "curriculum": "long"}},
    "trunks": [
        {**TRUNK, "inference": "deterministic", "scorer": "magnitude"},
        {
            **TRUNK,
            "inference": "bayesian",
            "scorer": ["snr", "mu"],
            "rewind": ["imp", "lrr", "soon"],
        },
    ],
    "branches": [{"branch": ["reinit", "swapped"], "rewind": "imp", "levels": [1, 2]}],
}
# What texts of these keys mean something; other keys take any text.
WORDS = {
    "dataset": ["digits", "other"],
    "source": sorted(SOURCES),
    "model": sorted(MODELS),
    "models": sorted(MODELS),
    "inference": ["deterministic", "bayesian", "cold"],
    "kind": sorted([*KINDS, *RANKINGS, *REWINDS, *OBJECTIVES, *SEARCHES]),
    "objective": [*sorted(OBJECTIVES), "soft"],
    "mask": sorted(MASKS),
    "weights": sorted(WEIGHTS),
    "of": ["deterministic", "bayesian"],
    "scorer": sorted(SCORERS),
    "rewind": [*sorted(REWINDS), "soon"],
    "search": [*sorted(SEARCHES), "rigl"],
    "ranking": [*sorted(RANKINGS), "mixed"],
    "pattern": sorted(PATTERNS),
    "curriculum": ["short", "long"],
    "branch": [*sorted(BRANCHES), "swapped"],
}
NAMES = [
    "digits",
    "other",
    "short",
    "long",
    "cold",
    "swapped",
    "mixed",
    "classifier",
    "2024",
    "é",
    "a b",
    "x" * 101,
    "x\n",
    "-x",
    "<<",
]
TEXTS = [
    "", " ", "~", "~/x", "~nobody/x", ".", "..", "/", "a b", "é ü 数", "x/", "//x", "-x", "null",
    "{x}", "{", "{{x}}", "<results>", "<", "%j", "$(touch pwned)", "`touch pwned`", "'", '"', "\\",
    "; touch pwned", "a\nb", "x\n", "\t", "\0", "\x85", "\u2028", "\u202e", "\ud800", "😀",
    "x" * 300, "x" * 5000, "x/" * 600, "1e-3", "1e5", "elephant", "nan", "yes", "2024-01-01", "http://x/y",
    "s3://x/y", "/dev/null", "/dev/null/x", "*", "?", "[a]", "#x", "!x", "&x", "|", "@", "=", "a=b",
]  # fmt: skip
NUMBERS = [
    0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 10**399, 0.0, -0.0, 0.5,
    1e-17, 1 - 2**-53, 5e-324, 1e-12, 1e3, 1e17, 1e308, -1e308, math.nan, math.inf, -math.inf,
]  # fmt: skip
