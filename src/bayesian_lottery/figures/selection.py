"""Which part of a table a figure shows, and the words that say so."""

from dataclasses import dataclass

import pandas as pd

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.figures import NothingToShow

# Options that every figure of trunks takes; None leaves the choice to `panels`.
SELECTION = {"dataset": None, "models": None, "curriculum": None, "rewind": None}
_LISTS = {"models", "levels"}


@dataclass(frozen=True)
class Panel:
    """One model's rows, all of one dataset, curriculum and rewind, which `shown` names."""

    model: str
    rows: pd.DataFrame
    shown: dict[str, str]


def with_defaults(given: dict, defaults: dict) -> dict:
    """`defaults` overlaid with `given`; an `InputError` names an option not known or no list."""
    for name, value in given.items():
        if name not in defaults:
            raise choice("figure option", name, defaults)
        if name in _LISTS and not isinstance(value, list | None):
            raise InputError(f"figure option {name}: {value!r} is not a list.")
    return {**defaults, **given}


def _only(frame: pd.DataFrame, column: str, wanted: str | None) -> tuple[pd.DataFrame, str]:
    """The rows of one value of `column`: the one wanted, else the one with the most rows."""
    if wanted is None:
        # The most rows make the main part of a study; of equals, the first by name.
        wanted = frame[column].value_counts().sort_index().idxmax()
    return frame[frame[column] == wanted], wanted


def panels(trunks: pd.DataFrame, options: dict) -> list[Panel]:
    """A panel for each model.

    A figure shows one dataset, and of each model one curriculum and one rewind: those that
    `options` name. Where they name none, it is the rewind `imp` if there is one, and otherwise
    what has the most rows; of each model, so that one with a curriculum of its own is not lost.

    Raises:
        NothingToShow: no row is left; the message says what there is instead.
    """
    if trunks.empty:
        raise NothingToShow("The table holds no pruned trunk, only dense networks or branches.")
    rows, dataset = _only(trunks, "dataset", options["dataset"])
    defaults = {"curriculum": None, "rewind": "imp" if (rows["rewind"] == "imp").any() else None}
    found = []
    for model in options["models"] or sorted(rows["model"].unique()):
        of_model, shown = rows[rows["model"] == model], {"dataset": dataset}
        for column, default in defaults.items():
            if not of_model.empty:
                of_model, shown[column] = _only(of_model, column, options[column] or default)
        if not of_model.empty:
            found.append(Panel(model, of_model, shown))
    if not found:
        wanted = ", ".join(f"{name} {options[name]}" for name in SELECTION if options[name])
        there = "; ".join(
            f"{name} {', '.join(sorted(trunks[name].unique()))}"
            for name in ("dataset", "model", "curriculum", "rewind")
        )
        raise NothingToShow(f"The table holds no trunk of {wanted}; it holds {there}.")
    return found


def describe(shown: list[Panel]) -> str:
    """What the panels show: "cifar10, curriculum paper, rewind imp, 3 seeds"."""
    seeds = sorted({panel.rows["seed"].nunique() for panel in shown})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    words = [shown[0].shown["dataset"]]
    for column in ("curriculum", "rewind"):
        models: dict[str, list[str]] = {}
        for panel in shown:
            models.setdefault(panel.shown[column], []).append(panel.model)
        if len(models) == 1:
            words.append(f"{column} {next(iter(models))}")
        else:
            each = (f"{value} ({', '.join(names)})" for value, names in models.items())
            words.append(f"{column} {', '.join(each)}")
    return ", ".join([*words, f"{count} seed" if seeds == [1] else f"{count} seeds"])
