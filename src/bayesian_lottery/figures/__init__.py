"""The figures: a registry that costs nothing to import; each module loads matplotlib when drawing.

Adding a figure is one entry in `FIGURES` and one module with

    draw(runs: DataFrame | None, layers: DataFrame | None, options: dict) -> matplotlib Figure
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from bayesian_lottery.errors import InputError, choice


class NothingToShow(InputError):
    """The tables hold nothing that the figure could show; the message says what is missing."""


@dataclass(frozen=True)
class Figure:
    """A figure: its title, the module of this package that draws it, the tables it needs.

    `tables` are among "runs" and "layers"; `draw` gets None for a table that it does not need.
    """

    title: str
    module: str
    tables: tuple[str, ...]


FIGURES: Mapping[str, Figure] = {
    "figure1": Figure("Accuracy and calibration against weights remaining", "accuracy", ("runs",)),
    "figure2": Figure("Sparsity layer by layer", "layers", ("layers",)),
}


def draw(name: str, tables: Mapping, options: Mapping):
    """Draw the figure `name` from `tables` ("runs" and "layers" -> DataFrame).

    Raises:
        InputError: no such figure, a table that it needs is not given, or a wrong option.
        NothingToShow: the tables cannot feed it.
    """
    if name not in FIGURES:
        raise choice("figure", name, FIGURES)
    figure = FIGURES[name]
    for needed in figure.tables:
        if tables.get(needed) is None:
            raise InputError(f"{name} needs the table of {needed}.")
    module = importlib.import_module(f"{__name__}.{figure.module}")
    return module.draw(tables.get("runs"), tables.get("layers"), dict(options))
