"""Checks of the rankings and patterns of a configuration; each error is one sentence."""

from collections.abc import Iterable, Mapping

from bayesian_lottery import models
from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.models import Definition, Model
from bayesian_lottery.study import choices, owners
from bayesian_lottery.study.datasets import images_of
from bayesian_lottery.study.nodes import Trunk
from bayesian_lottery.tickets.patterns import PATTERNS
from bayesian_lottery.tickets.rankings import RANKINGS


def check(config: Mapping, trunks: Iterable[Trunk]) -> None:
    """Check `rankings`, and that the models of `trunks` have what their rankings and patterns name.

    Only for layers that some models lack, and for models of extensions, this imports torch.

    Raises:
        InputError: names the key, its value, and what is allowed.
    """
    for name, entry in config.get("rankings", {}).items():
        if name in RANKINGS:
            raise InputError(
                f"rankings.{name}: {name} is a kind of its own; give this ranking another name."
            )
        if entry["kind"] not in RANKINGS:
            raise choice(f"rankings.{name}.kind", entry["kind"], RANKINGS)
    used = {(trunk.dataset, trunk.model, trunk.ranking, trunk.pattern) for trunk in trunks}
    for dataset, model, ranking, pattern in sorted(used):
        if shape := images_of(config, dataset).shape:
            _check_shares(config, ranking, choices.model(config, model), shape)
            _check_pattern(pattern, choices.model(config, model), shape)


def _check_shares(config: Mapping, ranking: str, model: Model, shape: tuple[int, int, int]) -> None:
    named = config.get("rankings", {}).get(ranking, {}).get("shares", {})
    own = isinstance(model, Definition)
    if named and (own or named.keys() - {"classifier"}):
        known = models.layer_names(model, shape)
        for layer in named:
            if layer not in known:
                raise choice(f"rankings.{ranking}.shares, a layer of {model}", layer, known)


def _check_pattern(pattern: str, model: Model, shape: tuple[int, int, int]) -> None:
    """Refuse units of a user's model that says nothing of them; the package's all do."""
    own = isinstance(model, Definition) or owners.files_of([("model", model)])
    if PATTERNS[pattern].units and own:
        from bayesian_lottery.models.units import STRUCTURES

        template = models.build(model, shape, classes=2)
        if type(template) not in STRUCTURES:
            raise InputError(
                f"trunks: the pattern {pattern!r} prunes whole units, and of the model {model} "
                f"nothing says what they are; use the pattern 'weights', or give its class "
                f"{type(template).__name__} an entry in units.STRUCTURES."
            )
