"""The section `claims` of the configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.study import schema, told_checks
from bayesian_lottery.study.node_metrics import STATISTICS
from bayesian_lottery.tickets.scores import scorers_for

# The inferences that the papers speak of.
POINT, POSTERIOR, TUNED = "deterministic", "bayesian", "tuned"
CURRICULA = {"main": None, "low_lr": "low_lr", "warmup": "warmup"}
# Of what is no number and no choice, as JSON Schema.
_ALLOWED = {
    "properties": {
        "curricula": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        "controls": {"type": "array", "items": {"type": "string"}},
    }
}


@dataclass(frozen=True)
class Options:
    """The section `claims` of the configuration; the schema describes each key."""

    margin: float = 0.01
    mace_margin: float = 0.01
    confidence: float = 0.95
    statistic: str = "peak"
    scorer: str = "snr"
    density: float = 0.1
    sparse: float = 0.05
    curricula: Mapping[str, str | None] = field(default_factory=dict)
    controls: Sequence[str] = ()
    tickets: Mapping[str, str] = field(default_factory=dict)  # these two as `study.ways` has them
    kinds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    arms: Mapping[str, Mapping] = field(default_factory=dict)  # as `study.arms` has it

    def __post_init__(self):
        if self.statistic not in STATISTICS:
            raise choice("claims.statistic", self.statistic, STATISTICS)
        if self.scorer not in (known := scorers_for(KINDS[POSTERIOR].offers)):
            raise choice("claims.scorer", self.scorer, known)
        for name in ("margin", "mace_margin", "confidence", "density", "sparse"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < 1:
                raise InputError(f"claims.{name}: {value!r} must be a number above 0 and below 1.")
        for name in self.curricula:
            if name not in CURRICULA:
                raise choice("claims.curricula", name, CURRICULA)

    @classmethod
    def of(cls, given: Mapping) -> "Options":
        """Options from the configuration; an `InputError` names a key that is not known."""
        known = [option.name for option in fields(cls)]
        for name in given:
            if name not in known:
                raise choice("claims", name, known)
        told_checks.check("claims", given)
        schema.check_options("claims", given, _ALLOWED)
        return cls(**given)

    def kind(self, coordinate: str, name: str) -> str:
        """The kind of a search or a rewind."""
        return self.kinds.get(coordinate, {}).get(name, name)

    def curriculum(self, name: str) -> str | None:
        """What the study calls the curriculum "main", "low_lr" or "warmup"; None is not said."""
        return {**CURRICULA, **self.curricula}[name]
