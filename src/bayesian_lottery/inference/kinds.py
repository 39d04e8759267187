"""Inferences: how a ticket becomes predictions. To add a kind, add an entry to `KINDS`.

An inference of a study is a kind with options, under a name of its own (`inferences` in the
configuration). Every kind is an inference by its own name, too.

This module loads no torch, so that the workflow can read the names quickly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bayesian_lottery.errors import InputError, few, short
from bayesian_lottery.imports import named
from bayesian_lottery.inference.mean_field import Tuned, Variational
from bayesian_lottery.inference.monte_carlo import Exact, Hmc, Mclmc, Nuts, Sghmc, Sgld, Swag
from bayesian_lottery.options import Nothing, option


@dataclass(frozen=True)
class Dropout:
    """The options of Monte Carlo dropout."""

    rate: float = option(
        0.1,
        "The probability with which a unit is dropped.",
        minimum=0,
        exclusiveMaximum=1,
        because="some units must be left",
    )
    samples: int = option(
        1,
        "Draws of the units to drop, a training step.",
        minimum=1,
        maximum=10_000,
        because="a step takes so many times as long",
    )


LARGEST_CLASSIFIER = 10_000  # weights and biases: their covariance takes 400 MB


def check_classifier(key: str, size: int) -> None:
    """Refuse a classifier of `size` weights and biases that is too large for a covariance of all.

    Args:
        key: of the configuration, that asks for it.
    """
    if size > LARGEST_CLASSIFIER:
        raise InputError(
            f"{key}: 'last_layer' is of at most {LARGEST_CLASSIFIER:,} weights and biases, for "
            f"memory must hold their covariance, and the classifier has {size:,}; use 'diagonal'."
        )


@dataclass(frozen=True)
class Laplace:
    """The options of Laplace approximations."""

    hessian: str = option(
        "diagonal",
        "What is kept of the Hessian; its diagonal, or all of the classifier's.",
        enum=["diagonal", "last_layer"],
    )
    curvature: str = option(
        "ggn",
        "Generalised Gauss-Newton, or the gradients' squares at the labels (empirical Fisher).",
        enum=["ggn", "fisher"],
    )
    prior_precision: float | None = option(
        None,
        "Precision of the prior, whose mean is 0; not given, the marginal likelihood chooses it.",
        minimum=1e-6,
        maximum=1e12,
        because="variances are in float32",
    )


Offers = tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of inference.

    Attributes:
        words: what sentences and legends call it.
        code: "module:object", called with a model and the options; gives a `networks.Network`.
        offers: what of each weight a scorer can rank, as
            `Network.moments` gives it.
        why: why it offers no more, as the end of a sentence.
        narrower: by an option and its value what is offered in place of `offers`, and why.
        options: a class of typed options.
        scorers: by which a dense network is pruned as its training ends; those that come later
            are not here, so that no trained network is trained again for them.
        stochastic: whether predictions average draws.
        tensors: how many numbers it trains for a weight or bias of a layer.
        trainer: "module:object", called as `training.loop.train` is.
        own_draws: whether predictions average draws that the network keeps, all of them and the
            same in every pass, so that `evaluation.samples` and `.passes` ask nothing of it.
        moves: whether its mask may move in training.
        keeps: the option that says how many draws its saved state has, if it has any.
        draws: whether it keeps predictions of every draw, in the file `draws` (`training.draws`).
        held_out: whether it needs held-out images.
        plain: whether it takes plain models only (`models.Spec.plain`).
        early: whether its training has early steps, to whose weights a rewind can go back.
        gradients: of one that takes whole data, from its options how many gradients it takes at
            most.
    """

    words: str
    code: str
    offers: Offers
    options: type = Nothing
    scorers: tuple[str, ...] = ()
    stochastic: bool = False
    tensors: int = 1
    draws: bool = False
    trainer: str = "bayesian_lottery.training.loop:train"
    own_draws: bool = False
    moves: bool = True
    keeps: str = ""
    held_out: bool = False
    plain: bool = False
    early: bool = True
    gradients: Callable[[Mapping], int] | None = None
    why: str = ""
    narrower: Mapping[tuple[str, str], tuple[Offers, str]] = field(default_factory=dict)

    def offered(self, options: Mapping) -> tuple[Offers, str]:
        """What of each weight a scorer can rank with these options, and why no more."""
        for (name, value), narrower in self.narrower.items():
            if options.get(name) == value:
                return narrower
        return self.offers, self.why

    @property
    def redraws(self) -> bool:
        """Whether each pass of predictions draws anew, as many as the configuration says."""
        return self.stochastic and not self.own_draws

    def load(self) -> Callable:
        """What `code` names; this imports torch."""
        return named(self.code)

    def train(self) -> Callable:
        """What `trainer` names; this imports torch."""
        return named(self.trainer)


def _exact(words: str, options: type[Exact]) -> Kind:
    """An exact sampler."""
    return Kind(
        words=words,
        code="bayesian_lottery.inference.chains:ChainNetwork.of",
        offers=("mean", "std"),
        options=options,
        scorers=("snr", "square", "mu"),
        stochastic=True,
        draws=True,
        trainer="bayesian_lottery.sampling.sampler:train",
        own_draws=True,
        moves=False,
        keeps="keep",
        plain=True,
        early=False,
        gradients=lambda told: options(**told).gradients,
    )


KINDS: dict[str, Kind] = {
    "deterministic": Kind(
        words="deterministic",
        code="bayesian_lottery.inference.deterministic:DeterministicNetwork.of",
        offers=("weight",),
        scorers=("magnitude",),
    ),
    "bayesian": Kind(
        words="Bayesian",
        code="bayesian_lottery.inference.variational:BayesianNetwork.of",
        offers=("mean", "std"),
        options=Variational,
        scorers=("snr", "square", "mu"),
        stochastic=True,
        tensors=2,
    ),
    "swag": Kind(
        words="SWAG",
        code="bayesian_lottery.inference.swag:SwagNetwork.of",
        offers=("mean", "std"),
        options=Swag,
        scorers=("snr", "square", "mu"),
        stochastic=True,
        own_draws=True,
        moves=False,
        keeps="draws",
    ),
    "sghmc": Kind(
        words="SGHMC",
        code="bayesian_lottery.inference.langevin:LangevinNetwork.sghmc",
        offers=("mean", "std"),
        options=Sghmc,
        scorers=("snr", "square", "mu"),
        stochastic=True,
        own_draws=True,
        draws=True,
        moves=False,
        keeps="keep",
    ),
    "sgld": Kind(
        words="SGLD",
        code="bayesian_lottery.inference.langevin:LangevinNetwork.sgld",
        offers=("mean", "std"),
        options=Sgld,
        scorers=("snr", "square", "mu"),
        stochastic=True,
        own_draws=True,
        draws=True,
        moves=False,
        keeps="keep",
    ),
    "nuts": _exact("NUTS", Nuts),
    "hmc": _exact("HMC", Hmc),
    "mclmc": _exact("MCLMC", Mclmc),
    "dropout": Kind(
        words="dropout",
        code="bayesian_lottery.inference.dropout:DropoutNetwork.of",
        offers=("weight", "mean"),
        options=Dropout,
        stochastic=True,
        why="the ratio of mean to standard deviation is one constant, sqrt((1 - rate) / rate)",
    ),
    "laplace": Kind(
        words="Laplace",
        code="bayesian_lottery.inference.laplace:build",
        offers=("mean", "std"),
        options=Laplace,
        stochastic=True,
        tensors=2,
        moves=False,
        narrower={
            ("hessian", "last_layer"): (
                ("mean",),
                "no weight but the classifier's has a standard deviation",
            )
        },
    ),
    "tuned": Kind(
        words="tuned Bayesian",
        code="bayesian_lottery.inference.variational:BayesianNetwork.of",
        offers=("mean", "std"),
        options=Tuned,
        scorers=("snr", "square", "mu"),
        stochastic=True,
        tensors=2,
        trainer="bayesian_lottery.training.tuning:train",
        moves=False,
        held_out=True,
    ),
}


def kind_name(settings: Mapping) -> str:
    """The kind of the inference that trains a node of `settings`; unsaid, it is the name."""
    return settings.get("kind", settings["inference"])


def kind_of(settings: Mapping) -> Kind:
    """As `kind_name`, the entry.

    Raises:
        InputError: it is of an extension, which is not loaded.
    """
    return named_kind(kind_name(settings))


def named_kind(name: str) -> Kind:
    """The entry of `KINDS` of this name; an `InputError` says that there is none."""
    if name not in KINDS:
        raise InputError(
            f"inference: {short(name)} is not known; choose from {few(sorted(KINDS))}, or name the "
            "file that registers it under extensions."
        )
    return KINDS[name]


def members_of(settings: Mapping) -> int:
    """How many networks are trained for a node of `settings`: one, or a population."""
    return options_of(settings).get("members", 1)


def options_of(settings: Mapping) -> Mapping:
    """The options of the inference that trains a node of `settings`."""
    return settings.get(kind_name(settings), {})


def draws_of(settings: Mapping) -> int:
    """How many draws the saved state of a node of `settings` has."""
    return options_of(settings).get(kind_of(settings).keeps, 0)
