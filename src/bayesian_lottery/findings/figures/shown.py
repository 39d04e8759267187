"""What a figure shows, by coordinates: what `plans` plans and the drawing modules draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bayesian_lottery.errors import choice
from bayesian_lottery.findings.figures.selection import Where

PROBABILITIES = 640  # of each draw, the first ones, that chains are compared by
_LEGIBLE = range(250, 2001)  # weights of a layer whose every weight can be seen

# The option `statistic`: the epoch whose network is shown, in words.
EPOCHS = {
    "peak": "best epoch on test images",
    "final": "last epoch",
    "selected": "epoch chosen on validation",
}

_MEASURED = {
    "peak": "at the epoch with the highest accuracy on the test images, as in the paper. A maximum "
    "over test epochs is optimistic: set ``figures: {{{name}: {{statistic: selected}}}}`` for the "
    "epoch chosen on training images that were held out.",
    "final": "after its last epoch.",
    "selected": "at the epoch chosen on training images that were held out.",
}


def measured(name: str, plan: object) -> str:
    """Of which epoch a figure's networks are, as its caption says it; nothing where none is chosen.

    Args:
        name: the figure's.
        plan: what it shows.
    """
    if statistic := getattr(plan, "statistic", None):
        return f"Each network is measured {_MEASURED[statistic].format(name=name)}"
    return ""


@dataclass(frozen=True)
class Curve:
    """A line: the name of its look, its rows, its label (None is the look's own), and a shorter one
    for the line's end (None is the label)."""

    look: str
    where: Where
    label: str | None = None
    short: str | None = None


@dataclass(frozen=True)
class Cell:
    """A panel: its curves, and the looks and rows of dense networks drawn as level lines."""

    curves: Sequence[Curve]
    dense: Mapping[str, Where]

    @property
    def looks(self) -> list[str]:
        """All looks of the panel."""
        return [*(curve.look for curve in self.curves), *self.dense]


@dataclass(frozen=True)
class Row:
    """A row of panels of one metric, a cell a column; `label` says what its cells share.

    `against` is the column of the horizontal axis: "density" or "survivors".
    """

    cells: Sequence[Cell]
    metric: str = "accuracy"
    label: str = ""
    against: str = "density"


@dataclass(frozen=True)
class Grid:
    """Panels of curves against the weights that remain; `shown` says of what.

    Panels are `wide` where the labels at the lines' ends are long.
    """

    titles: Sequence[str]
    rows: Sequence[Row]
    statistic: str
    shown: str
    wide: bool = False


@dataclass(frozen=True)
class Costs:
    """Panels of accuracy against what a ticket costs: of each row one for each density.

    sources: for each look, whose trained weights its search takes, as `tickets.searches` has it.
    """

    titles: Sequence[str]
    rows: Sequence[Row]
    densities: Sequence[float]
    sources: Mapping[str, str]
    statistic: str
    shown: str


@dataclass(frozen=True)
class Overlaps:
    """Panels of the overlap of masks against the layer: of each row one for each density."""

    titles: Sequence[str]
    rows: Sequence[Row]
    densities: Sequence[float]
    shown: str


@dataclass(frozen=True)
class Distances:
    """Panels of the distance of masks against the epoch, a line a seed and level."""

    titles: Sequence[str]
    rows: Sequence[Row]
    levels: Sequence[int]
    shown: str


@dataclass(frozen=True)
class Layers:
    """A panel a model, a line a scorer and level."""

    titles: Sequence[str]
    cells: Sequence[Cell]
    levels: Sequence[int]
    shown: str


@dataclass(frozen=True)
class Masks:
    """One layer of a ticket's mask and of its branches'.

    masks: the coordinates of the node whose mask each is: "ticket", then branches.
    layer: the name of the layer; None leaves the choice to `layer_of`.
    """

    masks: Mapping[str, Where]
    layer: str | None
    shown: str

    def layer_of(self, sizes: Mapping[str, int]) -> str:
        """The layer that is shown, of those with so many weights: the smallest of a legible size;
        the smallest of all if none is.

        Raises:
            InputError: the plan names a layer that there is not.
        """
        if self.layer:
            if self.layer not in sizes:
                raise choice("figure option layer", self.layer, sizes)
            return self.layer
        legible = [name for name, size in sizes.items() if size in _LEGIBLE]
        return min(legible or sizes, key=lambda name: sizes[name])


@dataclass(frozen=True)
class Times:
    """All models that were trained both ways.

    saving: whose seconds say what a transplantation saves: the transplanted tickets', those of the
        trunk that they were found in, and of the trunk that they spare. Empty where there are none.
    """

    shown: str
    saving: Sequence[Where]


@dataclass(frozen=True)
class Exports:
    """All exported networks."""

    shown: str


@dataclass(frozen=True)
class Agreements:
    """How close arms come to the sampler: of each model, a column of panels for each density.

    looks: the look and the words of each arm that may be drawn, by its branch, "" of the ticket.
    """

    wheres: Sequence[Where]
    looks: Mapping[str, tuple[str, str]]
    densities: Sequence[float]
    shown: str


@dataclass(frozen=True)
class Chains:
    """The chains of one pool.

    chains: the coordinates of the node whose draws each is, by the names of the files to give.
    limit: the largest R-hat of chains that count as agreeing.
    """

    chains: Mapping[str, Where]
    limit: float
    shown: str
