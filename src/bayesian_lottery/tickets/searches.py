"""Searches: where a level's mask comes from. To add a kind, add an entry to `SEARCHES`.

A search of a study is a kind with options, under a name of its own (`searches` in the
configuration). Every kind is a search by its own name, too.

This module loads no torch, so that the workflow can read the names quickly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.options import Nothing, option

SCORED = ("previous", "dense", "watched", "own")


def last_move(end: float, steps: int) -> int:
    """After how many of the steps of a training its mask moves no more."""
    return max(1, int(end * steps))


@dataclass(frozen=True)
class Moving:
    """When a mask moves in training: what all kinds whose mask moves have in common."""

    every: int = option(
        100,
        "Steps from one move of the mask to the next.",
        minimum=1,
        maximum=1_000_000_000,
        because="no run has more steps",
    )
    end: float = option(
        0.75, "The share of training after which the mask stays.", exclusiveMinimum=0, maximum=1
    )

    def check_steps(self, steps: int) -> None:
        """Raise an `InputError` if the mask would not move in so many steps; by default it does, at
        the last of them if at no other."""


@dataclass(frozen=True)
class Dynamic(Moving):
    """The options of sparse training from scratch (SET, RigL)."""

    growth: str = option(
        "random",
        "What is grown; random weights (SET), or those of the largest gradients (RigL).",
        enum=["random", "gradient"],
    )
    share: float = option(
        0.3,
        "The share of a layer's survivors that the first move replaces; it falls as a cosine.",
        exclusiveMinimum=0,
        maximum=1,
    )
    layers: str = option(
        "erdos_renyi",
        "How survivors are shared out; erdos_renyi makes small layers denser, uniform does not.",
        enum=["erdos_renyi", "uniform"],
    )

    def check_steps(self, steps: int) -> None:
        if self.every >= (last := last_move(self.end, steps)):
            raise InputError(
                f"every: {self.every} must be below {last}, the steps of training after which the "
                "mask stays, for it would never move."
            )


@dataclass(frozen=True)
class Gradual(Moving):
    """The options of gradual pruning within one training."""

    begin: float = option(
        0.0, "The share of training after which pruning begins.", minimum=0, exclusiveMaximum=1
    )

    def __post_init__(self):
        if self.begin >= self.end:
            raise InputError(
                f"begin: {self.begin} is not allowed; it must be below end, which is {self.end}."
            )


@dataclass(frozen=True)
class AtInit:
    """The options of pruning at initialisation."""

    rounds: int = option(
        0,
        "Rounds of scoring and pruning, by an exponential schedule; 0: as the scorer's source.",
        minimum=0,
        maximum=10_000,
        because="each scores the whole network",
    )
    batch: int = option(
        0,
        "Training images that scores take; 0: a batch of the curriculum's size.",
        minimum=0,
        maximum=1_000_000,
        because="they go through the network at once",
    )


@dataclass(frozen=True)
class Early:
    """The options of drawing masks early in the training of the dense network."""

    levels: int = option(
        20,
        "How many levels are watched; trunks have at most so many.",
        minimum=1,
        maximum=1000,
        because="each has a mask of its own",
    )
    window: int = option(
        5,
        "Consecutive distances of masks, from epoch to epoch, that must all be small.",
        minimum=1,
        maximum=1_000_000,
        because="no run has more epochs",
    )
    distance: float = option(
        0.1, "The share of the survivors by which such masks may differ.", minimum=0, maximum=1
    )
    latest: float = option(
        0.5, "The share of training after which a mask is drawn at all events.",
        exclusiveMinimum=0, maximum=1,
    )  # fmt: skip


def constant(density: float, options: Mapping) -> float:
    """The mean density of a mask whose layers keep theirs in training."""
    return density


def falling(density: float, options: Mapping) -> float:
    """The mean density of one that falls from 1 by Zhu & Gupta's cubic, between two moments."""
    begin, end = options["begin"], options["end"]
    return begin + (end - begin) * (density + (1 - density) / 4) + (1 - end) * density


@dataclass(frozen=True)
class Search:
    """A kind of search for masks. Every search keeps as many weights at a level.

    Attributes:
        words: what sentences call it.
        scored: whose trained weights are scored: those of the level before ("previous"), so that
            the levels are a chain; those of the "dense" network, so that they are a fan, each
            pruned as often as the level says with the same scores; those of the dense network as
            it trains, "watched" by a job of its own; or nobody's: then each level makes its "own"
            mask, from its initial weights or as it trains.
        options: a class of typed options.
        watch: "module:object", of a search that watches the dense network; see
            `training.watching`.
        start: "module:object", of a search whose levels make their own masks: called with the
            network at its initial weights, the images, the node's settings and its stream; gives
            the mask that training starts with.
        moves: "module:object", of a search whose masks move in training; see `training.moving`.
        takes: which choices of how masks are cut it leaves open: "ranking", "pattern".
        share: from the density that a layer ends with, and the options, to its mean in training.
    """

    words: str
    scored: str
    options: type = Nothing
    watch: str = ""
    start: str = ""
    moves: str = ""
    takes: tuple[str, ...] = ("ranking", "pattern")
    share: Callable[[float, Mapping], float] = constant

    def __post_init__(self):
        if self.scored not in SCORED:
            raise choice("Search.scored", self.scored, SCORED)
        for attribute, scored in (("start", "own"), ("watch", "watched")):
            if bool(getattr(self, attribute)) != (self.scored == scored):
                raise InputError(
                    f"Search.{attribute}: searches of scored={scored!r} have it, and no other."
                )


SEARCHES: dict[str, Search] = {
    "iterative": Search("train, prune, repeat", scored="previous"),
    "one_shot": Search("prune the trained dense network at once", scored="dense"),
    "early": Search(
        "draw masks as the dense network trains, once they are stable",
        scored="watched",
        options=Early,
        watch="bayesian_lottery.training.watching:EarlyBird",
    ),
    "at_init": Search(
        "prune the initial weights",
        scored="own",
        options=AtInit,
        start="bayesian_lottery.training.pruning:initial_mask",
    ),
    "dynamic": Search(
        "train sparse from scratch, dropping and growing weights",
        scored="own",
        options=Dynamic,
        start="bayesian_lottery.training.moving:random_mask",
        moves="bayesian_lottery.training.moving:Rewiring",
        takes=(),
    ),
    "gradual": Search(
        "prune step by step in one training",
        scored="own",
        options=Gradual,
        start="bayesian_lottery.training.moving:dense_mask",
        moves="bayesian_lottery.training.moving:Thinning",
        takes=("ranking",),
        share=falling,
    ),
}

# The papers' search, which nodes have that name none. Figures and claims are of no other,
# but for those that compare searches.
FIRST = "iterative"


def search_of(settings: Mapping) -> tuple[Search, Mapping] | None:
    """The search by which a node of `settings` makes its own mask, and its options; else None."""
    if "search_options" not in settings:
        return None
    options = dict(settings["search_options"])
    return SEARCHES[options.pop("kind")], options
