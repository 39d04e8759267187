"""The weights that dense networks have at early steps, for the rewinds that go back to them."""

from collections.abc import Mapping
from typing import NamedTuple

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.study import choices
from bayesian_lottery.study.nodes import Node


class Early(NamedTuple):
    """The weights that a dense network has at the early step of a rewind: a job of their own."""

    node: Node
    rewind: str

    @property
    def name(self) -> str:
        """Of the file, in the dense network's folder."""
        return f"early/at_{self.rewind}/weights"


def early_of(config: Mapping, node: Node) -> Early | None:
    """The early weights that a level starts from, if it does."""
    if node.rewind is None or node.branch:
        return None
    is_early = choices.rewind(config, node.rewind).origin == "early"
    return Early(node.dense, node.rewind) if is_early else None


def early_named(config: Mapping, node: Node, rewind: str) -> Early:
    """The early weights of the dense network `node` for `rewind`.

    Raises:
        InputError: the node is not dense, or the rewind is not known or needs no early weights.
    """
    fitting = [name for name in choices.rewinds(config)
               if choices.rewind(config, name).origin == "early"]  # fmt: skip
    if rewind not in fitting:
        raise choice("--rewind", rewind, fitting)
    if node != node.dense:
        raise InputError(f"--rewind: {node.folder} is no dense network; name one.")
    return Early(node, rewind)
