"""Objectives: what a branch is trained to do. To add one, add an entry to `OBJECTIVES`.

An objective of a study is an entry with options, under a name of its own (`objectives` in the
configuration). Every entry is an objective by its own name, too.

This module loads no torch, so that the workflow can read the names quickly.
"""

from dataclasses import dataclass

from bayesian_lottery.options import Nothing, option


@dataclass(frozen=True)
class Distillation:
    """The options of `distilled`."""

    temperature: float = option(
        4.0,
        "What logits are divided by before both softmaxes.",
        minimum=0.01,
        maximum=1000,
        because="logits are in float32",
    )
    weight: float = option(
        0.9,
        "The weight of the soft predictions' loss; the rest is that of the labels'.",
        minimum=0,
        maximum=1,
    )


@dataclass(frozen=True)
class Objective:
    """What a branch is trained to do.

    Attributes:
        words: what sentences call it.
        code: "module:object", called with the options and the teachers, one a network; gives a
            `targets.Targets`.
        options: a class of typed options.
        teacher: whether it learns from the dense network of its trunk.
    """

    words: str
    code: str
    options: type = Nothing
    teacher: bool = False


FIRST = "labels"  # of every node that names none

OBJECTIVES: dict[str, Objective] = {
    FIRST: Objective("the labels", "bayesian_lottery.training.targets:Labels"),
    "distilled": Objective(
        "the dense network's predictions",
        "bayesian_lottery.training.targets:Distilled",
        options=Distillation,
        teacher=True,
    ),
}
